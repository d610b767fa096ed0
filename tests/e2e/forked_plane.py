"""A control plane that starts at once, to be killed and started often: forked from a process that has imported it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["controlplane.cli.serve", "controlplane.cli.listen", "tests.e2e.forked_plane"])


class ForkedPlane:
    """The loop and the API of `controlplane run` in a process of their own, with one configuration after another."""

    def __init__(self, folder: Path) -> None:
        self._config, self._store, self._log = folder / "controlplane.yaml", folder / "history.db", folder / "log"
        self._process: ForkServerProcess | None = None
        self.url = ""

    def configure(self, tree: Mapping[str, Any]) -> None:
        """Writes the configuration for the next start."""
        self._config.write_text(yaml.safe_dump({"store": f"sqlite:///{self._store}", **tree}), encoding="utf-8")

    def start(self) -> None:
        """Returns when it listens; the first tick is yet to come."""
        ours, theirs = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_run, args=(self._config, self._log, theirs))
        self._process.start()
        theirs.close()
        with ours:
            assert ours.poll(20), self.log_text()
            self.url = f"http://127.0.0.1:{ours.recv()}"

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._process = None

    def log_text(self) -> str:
        """Everything it logged, over all its lives."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""


def _run(config: Path, log: Path, told: Connection) -> None:
    from controlplane.cli.listen import bind
    from controlplane.cli.logs import configure
    from controlplane.cli.serve import serve
    from controlplane.config import load_settings

    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.modules["__main__"] = ModuleType("__main__")  # not pytest's, which workers of slow jobs would run
    settings = load_settings(config, {})
    configure()
    with bind(settings.api.host, settings.api.port) as listening:
        told.send(listening.getsockname()[1])
        told.close()
        asyncio.run(serve(settings, listening, dry_run=False))
