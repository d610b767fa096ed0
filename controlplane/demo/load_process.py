"""The load generator as a process of its own, so that it shares no event loop and no interpreter with what it loads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from controlplane.demo.load_plan import LoadPlan
from controlplane.demo.rig_errors import RigError

_LINE_BYTES = 1024 * 1024
_RESULT = "load-result.json"


class LoadProcess:
    """A running load generator; made by `start`. It also ends when this process dies."""

    def __init__(self, process: Process, result: Path) -> None:
        self._process = process
        self._result = result

    @classmethod
    async def start(cls, plan: LoadPlan, folder: Path) -> LoadProcess:
        """Starts it; `folder` takes the plan, the result and what it says on standard error."""
        module = ["-m", "controlplane.demo.load", "--plan", str(_write_plan(plan, folder))]
        with (folder / "load-errors.log").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *module,
                "--parent",
                str(os.getpid()),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=errors,
                limit=_LINE_BYTES,
                start_new_session=True,
            )
        return cls(process, folder / _RESULT)

    async def seconds(self) -> AsyncIterator[dict[str, Any]]:
        """One value a second (`t` and `models`, see ModelRecord.close_second) until the load ends.

        Read them all: the generator stands still when nobody reads its output for long.
        """
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            yield json.loads(line)

    async def stop(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """Ends the load (at once, when it has not ended by itself) and gives its result.

        Raises RigError when it left none.
        """
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        return await self.wait(timeout_s)

    async def wait(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The result once the load has ended; killed after the timeout. Raises RigError when it left none."""
        try:
            async with asyncio.timeout(timeout_s):
                async for _ in self.seconds():
                    pass
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        try:
            result: dict[str, Any] = json.loads(await asyncio.to_thread(self._result.read_text, encoding="utf-8"))
        except (OSError, ValueError) as error:
            said = (self._result.parent / "load-errors.log").read_text(errors="replace")[-1000:]
            raise RigError(f"the load generator ended ({self._process.returncode}) without a result: {said}") from error
        return result


def _write_plan(plan: LoadPlan, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _RESULT).unlink(missing_ok=True)
    written = folder / "load-plan.json"
    replace(plan, result=str(folder / _RESULT)).write(written)
    return written
