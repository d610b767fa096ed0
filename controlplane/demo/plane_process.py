"""`controlplane run` as a process of its own, started as a user would, and its API as the demo reads it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Any

import aiohttp

from controlplane.demo.rig_errors import RigError

_PR_SET_PDEATHSIG = 1
_COMMAND = ("-c", "import sys; from controlplane.cli.entry import main; sys.exit(main())")


class PlaneProcess:
    """A running control plane; made by `start`. It also ends when this process dies."""

    def __init__(self, process: Process, log: Path, url: str) -> None:
        self._process = process
        self._log = log
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self.url = url

    @classmethod
    async def start(cls, config: Path, log: Path, port: int, timeout_s: float = 30.0) -> PlaneProcess:
        """Starts it and returns when its first tick is done. Raises RigError with the end of its log."""
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_COMMAND,
                "run",
                "--config",
                str(config),
                stdin=DEVNULL,
                stdout=out,
                stderr=out,
                env={name: value for name, value in os.environ.items() if not name.startswith("CONTROLPLANE_")},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        plane = cls(process, log, f"http://127.0.0.1:{port}")
        try:
            async with asyncio.timeout(timeout_s):
                while not await plane._ready():
                    plane.check()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await plane.stop()
            raise RigError(f"the control plane was not ready within {timeout_s:g} s:\n{plane.log_end()}") from None
        except BaseException:
            await plane.stop()
            raise
        return plane

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raises RigError when it has ended by itself."""
        if self._process.returncode is not None:
            raise RigError(f"the control plane ended ({self._process.returncode}):\n{self.log_end()}")

    async def get(self, path: str) -> Any:
        """What the API answers to GET /api/v1/`path`. Raises RigError when it does not."""
        try:
            async with self._session.get(f"{self.url}/api/v1/{path}") as answer:
                answer.raise_for_status()
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.check()
            raise RigError(f"{self.url}/api/v1/{path}: {type(error).__name__}: {error}") from error

    async def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """What the API answers to a request with a body. Raises RigError when it does not."""
        try:
            async with self._session.request(method, f"{self.url}/api/v1/{path}", json=body) as answer:
                answer.raise_for_status()
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RigError(f"{method} {self.url}/api/v1/{path}: {type(error).__name__}: {error}") from error

    async def stop(self, timeout_s: float = 8.0) -> int:
        """Ends it (SIGTERM, then SIGKILL after the timeout) and gives its exit status."""
        await self._session.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), timeout_s)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        return await self._process.wait()

    def log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    async def _ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        return False


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
