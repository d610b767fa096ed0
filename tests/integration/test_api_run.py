"""`controlplane run` as a process, with servers that are not there: it lives, tells so, and stops cleanly."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from controlplane.cli.listen import bind

CONFIGURATION = """
scrape: {interval: 500ms, timeout: 200ms}
decide: {interval: 1s}
api: {port: 0}
servers:
  - {name: triton-0, kind: triton, http: "http://127.0.0.1:9", grpc: "127.0.0.1:9", metrics: "http://127.0.0.1:9/metrics"}
models:
  - {name: bert, runs_on: [triton-0], instances: {min: 1, max: 8}}
"""
COMMAND = [sys.executable, "-c", "from controlplane.cli.entry import main; main()", "run"]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "controlplane.yaml").write_text(CONFIGURATION, encoding="utf-8")
    processes: list[subprocess.Popen[str]] = []

    def started(*options: str, under: Sequence[str] = (), **variables: str) -> subprocess.Popen[str]:
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [*under, *COMMAND, *options],
                cwd=tmp_path,
                env=os.environ | variables,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.match(r"API (http://127\.0\.0\.1:\d+) \(without tokens", line)
    assert found, line
    return found[1]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while get(f"{url}/readyz")[0] != 200:
        assert time.monotonic() < deadline, get(f"{url}/readyz")
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_tells_what_it_cannot_see_and_stops_on_a_signal(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    process = start()
    url = address(process)
    until_ready(url)
    fleet = json.loads(get(f"{url}/api/v1/fleet")[1])
    assert fleet["servers"][0]["live"]["value"] is not True
    assert fleet["models"][0]["units"][0]["instances"]["state"] == "missing"
    assert "controlplane_ticks_total" in get(f"{url}/metrics")[1]
    process.send_signal(number)
    assert process.wait(30) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("running", "stopping", "stopped")] == [
        "running",
        "stopping",
        "stopped",
    ]


def test_it_takes_all_descriptors_it_may_have_and_says_so_where_they_are_too_few(start: Start, tmp_path: Path) -> None:
    process = start(under=("bash", "-c", 'ulimit -Sn 200; ulimit -Hn 600; exec "$@"', "-"))
    until_ready(address(process))
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (600, 600)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (warning,) = (line for line in lines if line["event"].startswith("fewer open files"))
    assert (warning["allowed"], warning["needed"]) == (600, 1217)


@contextlib.contextmanager
def waiting_client(url: str) -> Iterator[socket.socket]:
    """Somebody who waits ten minutes for a model that nobody can load."""
    host, port = url.removeprefix("http://").split(":")
    body = b'{"ttl": "1h", "reason": "x"}'
    with socket.create_connection((host, int(port))) as waiting:
        waiting.sendall(
            b"POST /api/v1/models/bert/load?wait=600 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        deadline = time.monotonic() + 60
        while "ov-" not in get(f"{url}/api/v1/overrides")[1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield waiting


def test_a_client_that_waits_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    process = start()
    with waiting_client(address(process)) as waiting:
        process.terminate()
        assert process.wait(60) == 0
        assert b"503 Service Unavailable" in waiting.recv(1024)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    process = start()
    with waiting_client(address(process)):
        process.terminate()
        while "stopping" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT


def test_status_watches_until_it_is_told_to_stop(start: Start) -> None:
    url = address(start())
    command = [*COMMAND[:-1], "status", "--watch", "--interval", "0.5", "--url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        pages = 0
        for line in watching.stdout:
            pages += line.startswith("Servers")
            if pages == 2:
                break
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 0


def test_what_people_said_survives_a_kill(start: Start) -> None:
    process = start()
    url = address(process)
    request = urllib.request.Request(
        f"{url}/api/v1/freezes",
        data=b'{"ttl": "1h", "reason": "incident"}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201
    process.kill()
    process.wait()
    url = address(start())
    assert [f["reason"] for f in json.loads(get(f"{url}/api/v1/freezes")[1])] == ["incident"]


def test_a_port_in_use_is_one_line_and_exit_1(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(CONTROLPLANE_API__PORT=str(taken.getsockname()[1]))
        assert process.wait(60) == 1
    log = (tmp_path / "log").read_text()
    assert len(log.splitlines()) == 1
    assert "Address already in use" in log


def test_a_store_that_cannot_be_opened_is_one_line_and_exit_1(start: Start, tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    process = start(CONTROLPLANE_STORE=f"sqlite:///{tmp_path / 'history'}")
    assert process.wait(60) == 1
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert log.splitlines()[-1].startswith("controlplane: ")


def test_binding_to_the_world_without_tokens_is_refused(start: Start, tmp_path: Path) -> None:
    process = start(CONTROLPLANE_API__HOST="0.0.0.0")
    assert process.wait(60) == 2
    assert "loopback" in (tmp_path / "log").read_text()


def test_an_answer_is_sent_at_once_and_does_not_wait_for_the_one_before_to_be_acknowledged() -> None:
    with bind("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
