"""The command line against the API on a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from controlplane.api.app import create_app
from controlplane.api.tokens import Scope, create_token
from controlplane.cli.listen import bind
from controlplane.cli.main import execute
from controlplane.domain.signal import Missing
from tests.unit.api.fakes import NOW, FakePlane

Captured = pytest.CaptureFixture[str]


class Served:
    """The API over a fake plane, on a free loopback port, in a thread of its own."""

    def __init__(self, plane: FakePlane) -> None:
        self.plane = plane
        self._socket = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = create_app(plane, clock=plane.loop.clock)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        self.plane.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    plane = FakePlane(tmp_path)
    asyncio.run(plane.write_decisions())
    made = Served(plane)
    monkeypatch.setenv("CONTROLPLANE_URL", made.url)
    monkeypatch.delenv("CONTROLPLANE_TOKEN", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    yield made
    made.close()


def run(*arguments: str) -> int:
    return execute(list(arguments))


def test_a_load_balancer_may_look_by_head_and_keep_its_connection(served: Served) -> None:
    balancer = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 200), ("/nothing", 404)):
        balancer.request("HEAD", path)
        answer = balancer.getresponse()
        length = int(answer.headers["content-length"])
        assert (answer.status, answer.read()) == (status, b"")
        balancer.request("GET", path)
        answer = balancer.getresponse()
        assert answer.status == status
        body = answer.read()
        assert path == "/metrics" or len(body) == length
    balancer.close()


def test_status_tells_servers_models_objectives_gpus_people_and_decisions(served: Served, capsys: Captured) -> None:
    assert run("status") == 0
    page = capsys.readouterr().out
    for text in ("triton-0", "explicit", "bert", "41.5", "99.000%", "-900.0%", "50.0%", "Fake 80GB", "1.0/-"):
        assert text in page, text
    assert "2 -> 4 instances" in page
    assert "stale 1 min" in page
    assert "resnet on triton-0" in page
    assert "data missing: " in page, "it says why a figure is missing"
    assert "not carried out: mode recommend" in page


def test_status_breaks_no_name_on_a_narrow_terminal(
    served: Served, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("status") == 0
    page = capsys.readouterr().out
    for text in ("bert  ", "triton-0", "unloaded", "capacity", "availability_server ", "de-0001-up"):
        assert text in page, text
    assert "\nbert on triton-0 (recommend): 2 -> 4 instances: " in page
    assert max(map(len, page.splitlines())) <= 80


def test_status_says_why_nothing_is_known(served: Served, capsys: Captured) -> None:
    served.plane.loop.live = Missing("connection refused")
    served.plane.loop.models.clear()
    served.plane.decisions = ()
    assert run("status") == 0
    page = capsys.readouterr().out
    assert "connection refused" in page
    assert "nothing was decided yet" in page


def test_status_as_json_is_one_document(served: Served, capsys: Captured) -> None:
    assert run("status", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {"servers", "models", "gpus", "overrides", "freezes", "loop", "decisions"} <= set(document)


def test_models_are_loaded_counted_pinned_and_set_free_by_hand(served: Served, capsys: Captured) -> None:
    assert run("model", "load", "resnet", "--reason", "launch", "--for", "30m") == 0
    assert "resnet: succeeded: in force on triton-0" in capsys.readouterr().out
    assert run("model", "instances", "bert", "5", "--json") == 0
    operation = json.loads(capsys.readouterr().out)
    assert operation["override"]["instances"] == 5
    assert operation["override"]["expires_at"] == pytest.approx(NOW + 7200, abs=120), "two hours by default"
    assert operation["override"]["reason"] == "by hand"
    assert run("model", "pin", "bert") == 0
    assert run("model", "unload", "bert") == 0
    capsys.readouterr()
    assert run("model", "list") == 0
    assert "unloaded" in capsys.readouterr().out
    assert run("model", "unpin", "bert") == 0
    assert "bert: 1 override withdrawn" in capsys.readouterr().out


def test_an_instruction_that_fails_is_exit_1_with_the_remedy(served: Served, capsys: Captured) -> None:
    served.plane.loop.refuses = "CUDA out of memory"
    assert run("model", "load", "resnet") == 1
    assert "CUDA out of memory; unload another model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("model", "load", "nobody"), 1, "known: bert, resnet, watched"),
        (("model", "instances", "bert", "99"), 1, "allowed are 1 to 8"),
        (("model", "load", "watched"), 1, "mode observe"),
        (("model", "load", "bert", "--for", "soon"), 2, "--for: 'soon' is not allowed; a duration from 1s"),
        (("freeze", "--direction", "sideways"), 2, "--direction: 'sideways' is not allowed"),
        (("freeze", "--workload", "nobody"), 1, "nobody"),
        (("scale", "nobody", "3", "--for", "2h", "--reason", "launch"), 1, "nobody"),
        (("model", "bounds", "bert", "4", "2"), 1, "bounds of 4 to 2 are not allowed"),
        (("explain", "nothing"), 1, "nothing"),
    ],
)
def test_what_the_api_refuses_is_one_line_on_standard_error(
    served: Served, capsys: Captured, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert run(*arguments) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert len(told.err.splitlines()) == 1


def test_bounds_are_set_by_hand_and_shown_with_their_end(served: Served, capsys: Captured) -> None:
    assert run("model", "bounds", "bert", "1", "12", "--for", "30m") == 0
    assert "bert: succeeded: in force on triton-0" in capsys.readouterr().out
    assert run("workload", "list") == 0
    assert "Overrides and freezes" in capsys.readouterr().out
    assert run("decisions", "--compare") == 0
    assert "none whose time has passed" in capsys.readouterr().out
    assert run("model", "unpin", "bert") == 0


def test_freezes_hold_for_one_model_or_for_all(served: Served, capsys: Captured) -> None:
    assert run("freeze", "--model", "bert", "--direction", "no_down", "--for", "1h") == 0
    assert run("freeze", "--reason", "incident 7") == 0
    assert "all models: frozen (all)" in capsys.readouterr().out
    assert run("unfreeze") == 0
    assert run("unfreeze", "--model", "bert", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-2].join("{}")) == {"ended": 1}


def test_events_are_announced_listed_and_taken_back(served: Served, capsys: Captured) -> None:
    times = ("--start", str(served.plane.loop.now + 600), "--end", str(served.plane.loop.now + 4200))
    assert run("event", "add", "sale", "bert", *times, "--rate", "50/s", "--reason", "press at 9") == 2, "a time"
    times = ("--start", "2027-01-15T09:00Z", "--end", "2027-01-15T12:00Z")
    capsys.readouterr()
    assert run("event", "add", "sale", "bert", *times, "--rate", "50/s", "--reason", "press at 9", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["per_s"], made["subject"]) == (50.0, "bert")
    assert run("event", "list") == 0
    listed = capsys.readouterr().out
    assert "2027-01-15 09:00:00" in listed
    assert "50/s" in listed
    assert run("event", "end", made["id"]) == 0
    assert "sale" in capsys.readouterr().out
    assert run("event", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_decisions_are_listed_and_explained(served: Served, capsys: Captured) -> None:
    assert run("decisions") == 0
    listed = capsys.readouterr().out
    assert "de-0001-up" in listed
    assert "de-0002-hold" not in listed
    assert run("decisions", "--all", "--limit", "5", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert run("explain", "de-0001") == 0
    assert "decided: 2 -> 4 instances" in capsys.readouterr().out
    assert run("explain", "de-0001-up", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lines"]


def test_nobody_at_the_address_is_one_line_and_exit_1(capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert run("status", "--url", f"http://127.0.0.1:{port}") == 1
    told = capsys.readouterr().err
    assert "connection refused" in told
    assert len(told.splitlines()) == 1


def test_another_server_at_the_address_is_told_apart(served: Served, capsys: Captured) -> None:
    assert run("status", "--url", f"{served.url}/docs") == 1
    assert capsys.readouterr().err


def test_with_tokens_the_command_line_shows_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    tokens = tmp_path / "tokens"
    viewer = create_token(tokens, "eve", Scope.VIEWER, None)
    operator = create_token(tokens, "olga", Scope.OPERATOR, None)
    made = Served(FakePlane(tmp_path, extra=f"api: {{tokens_file: {tokens}}}\n"))
    try:
        monkeypatch.setenv("CONTROLPLANE_URL", made.url)
        monkeypatch.delenv("CONTROLPLANE_TOKEN", raising=False)
        assert run("status") == 1
        assert "bearer token is needed" in capsys.readouterr().err
        monkeypatch.setenv("CONTROLPLANE_TOKEN", viewer)
        assert run("status") == 0
        assert run("freeze") == 1
        assert "scope operator is needed; token eve has viewer" in capsys.readouterr().err
        monkeypatch.delenv("CONTROLPLANE_TOKEN")
        held = tmp_path / "held"
        held.write_text(operator + "\n", encoding="ascii")
        assert run("freeze", "--token-file", str(held), "--json") == 0
        assert json.loads(capsys.readouterr().out)["actor"] == "olga"
    finally:
        made.close()
