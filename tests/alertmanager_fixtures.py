"""A real Alertmanager: Debian's, run by hand on a port of loopback, and a receiver that keeps what it is posted."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

_DEADLINE_S = 20.0


class RealAlertmanager:
    """An Alertmanager alone (no cluster) with a configuration that the test writes."""

    def __init__(self, binary: str, home: Path, config: str) -> None:
        self._binary = binary
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (home / "alertmanager.yml").write_text(config, encoding="utf-8")

    def start(self) -> None:
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
        until(self._is_ready, f"Alertmanager is ready; its log is {self._home / 'log'}")

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError((self._home / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class WebhookReceiver:
    """Keeps the bodies that are posted to it, in the order in which they came."""

    def __init__(self) -> None:
        posts: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                posts.append(body | {"path": self.path})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.posts = posts
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()

    def alerts(self, status: str, **labels: str) -> list[dict[str, Any]]:
        """All alerts posted so far that have this status and these labels."""
        return [
            alert
            for post in list(self.posts)
            for alert in post["alerts"]
            if alert["status"] == status and labels.items() <= alert["labels"].items()
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def until(is_so: Callable[[], object], what: str, deadline_s: float = _DEADLINE_S) -> None:
    """Wait for something that other processes do, up to a deadline."""
    end = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline_s:g} s not so that {what}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def alertmanager_binary() -> str:
    """The program; where it is not installed, a skip saying so (in CI a failure)."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found is None:
        why = "no Alertmanager; install the Debian package prometheus-alertmanager"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


@pytest.fixture
def alertmanager_of(alertmanager_binary: str) -> Iterator[Callable[[str], RealAlertmanager]]:
    """Starts an Alertmanager with a configuration; stopped at the end."""
    homes: list[Path] = []
    made: list[RealAlertmanager] = []

    def start(config: str) -> RealAlertmanager:
        homes.append(Path(tempfile.mkdtemp(prefix="cp-am-")))
        made.append(RealAlertmanager(alertmanager_binary, homes[-1], config))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.kill()
    for home in homes:
        shutil.rmtree(home, ignore_errors=True)
