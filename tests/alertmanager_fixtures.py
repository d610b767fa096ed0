"""Debian's Alertmanager: amtool, and a server run by hand on a port of loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Amtool:
    """Questions to amtool about a configuration."""

    binary: str

    def check(self, config: Path) -> str:
        """What it says of a configuration that it takes; one that it refuses fails the test."""
        return self._run("check-config", str(config))

    def route(self, config: Path, labels: Mapping[str, str], receivers: Sequence[str]) -> None:
        """Hold an alert with these labels to the receivers that it goes to, in order."""
        given = [f"{name}={value}" for name, value in labels.items()]
        self._run(
            "config", "routes", "test", f"--config.file={config}", f"--verify.receivers={','.join(receivers)}", *given
        )

    def render(self, text: str, data: Mapping[str, Any], folder: Path) -> str:
        """A template filled with a notice."""
        (folder / "none.tmpl").touch()
        (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
        where = (f"--template.glob={folder / 'none.tmpl'}", f"--template.data={folder / 'data.json'}")
        return self._run("template", "render", *where, f"--template.text={text}")

    def _run(self, *arguments: str) -> str:
        ran = subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, f"amtool {' '.join(arguments)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout


class RealAlertmanager:
    """An Alertmanager that runs by a configuration, alone."""

    def __init__(self, binary: str, home: Path) -> None:
        self._binary = binary
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, config: str) -> None:
        """Run by this configuration. Returns when it is ready."""
        (self._home / "alertmanager.yml").write_text(config, encoding="utf-8")
        arguments = (
            f"--config.file={self._home / 'alertmanager.yml'}",
            f"--storage.path={self._home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        )
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.until(self._ready, "it is ready")

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Tell it alerts, by API v2."""
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def get(self, path: str) -> Any:
        """What its API v2 answers."""
        with urllib.request.urlopen(f"{self.url}/api/v2/{path}", timeout=10) as response:
            return json.load(response)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something about it, up to a deadline."""
        deadline = time.monotonic() + _DEADLINE_S
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError(f"Alertmanager: after {_DEADLINE_S:g} s not so that {what}\n{self._log()}")
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(self._log())
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _log(self) -> str:
        return (self._home / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        why = f"no {name}; install the Debian package prometheus-alertmanager"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def amtool() -> Amtool:
    """The program; where it is not installed, a skip saying so (in CI a failure)."""
    return Amtool(_program("amtool"))


@pytest.fixture(scope="session")
def alertmanager_binary() -> str:
    """The program; where it is not installed, a skip saying so (in CI a failure)."""
    return _program("prometheus-alertmanager")


@pytest.fixture
def alertmanager(alertmanager_binary: str) -> Iterator[RealAlertmanager]:
    """One that is not started yet."""
    home = Path(tempfile.mkdtemp(prefix="cp-am-"))
    made = RealAlertmanager(alertmanager_binary, home)
    try:
        yield made
    finally:
        made.kill()
        shutil.rmtree(home, ignore_errors=True)
