"""A site's command for copies on a machine of the shim: each is a process that serves a model and holds its slice.

    python -m tests.nvml_shim.copies FOLDER start|drain MODEL UUID

FOLDER has the machine's file; a copy is told there as UUID.json, with its pid and URL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from controlplane.decide.mig import Slice
from tests.completion_server import CompletionServer
from tests.nvml_shim.machine import Machine


def main(folder: Path, act: str, model: str, uuid: str) -> None:
    """What the agent asks for."""
    told = folder / f"{uuid}.json"
    if act == "serve":
        asyncio.run(_serve(folder, model, uuid))
    elif act == "start" and not told.exists():
        again = [sys.executable, "-m", "tests.nvml_shim.copies", str(folder), "serve", model, uuid]
        subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        _until(told.exists)
    elif act == "drain" and told.exists():
        pid = json.loads(told.read_text())["pid"]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        _until(lambda: not told.exists())


async def _serve(folder: Path, model: str, uuid: str) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    told, machine = folder / f"{uuid}.json", Machine(folder / "machine")
    async with CompletionServer(model) as server:
        machine.attach(os.getpid(), _piece(machine, uuid))
        part = told.with_suffix(".part")
        part.write_text(json.dumps({"pid": os.getpid(), "url": server.url}))
        part.rename(told)
        await stop.wait()
        machine.attach(0, _piece(machine, uuid))
    told.unlink()


def _piece(machine: Machine, uuid: str) -> Slice | None:
    """None: the whole GPU."""
    return next((piece for piece, name in machine.slices().items() if name == uuid), None)


def _until(wanted: object) -> None:
    ends = time.monotonic() + 20
    while not wanted():  # type: ignore[operator]
        if time.monotonic() > ends:
            sys.exit("it took too long")
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
