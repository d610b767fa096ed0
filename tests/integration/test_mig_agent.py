"""`/mig` of the agent over HTTP, the client that the loop has for it, and `controlplane mig apply` on top of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from controlplane.act.mig.agents import MigAgents
from controlplane.cli.main import execute
from controlplane.decide.mig import Slice
from controlplane.domain.errors import ConflictError, NotFoundError, TargetUnreachableError
from controlplane.domain.mig import LayoutState
from tests.integration.test_agent import HAS_DRIVER, Running, agent
from tests.nvml_shim.drive import answer, build, environment
from tests.nvml_shim.machine import Fault, Machine

TOKEN = "the-token-of-a-test"
BIG, SMALL = {"profile": "3g.40gb", "start": 4}, {"profile": "1g.10gb", "start": 0}


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]
    media_type: str


class Node:
    """An agent with --mig on an H100, and what is asked of it."""

    def __init__(self, running: Running, machine: Machine, token_file: Path) -> None:
        self.running = running
        self.machine = machine
        self.token_file = token_file
        self.url = running.url.removesuffix("/metrics")

    def ask(self, body: object = None, *, token: str | None = f"Bearer {TOKEN}") -> Answer:
        """GET, or POST of a body: JSON, or bytes as they are."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {} if token is None else {"Authorization": token}
        request = urllib.request.Request(f"{self.url}/mig", sent, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answered:
                return Answer(answered.status, json.load(answered), answered.headers.get_content_type())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error), error.headers.get_content_type())

    def cut(self, *layout: dict[str, Any], dry_run: bool = False) -> Answer:
        return self.ask({"gpu": "GPU-0", "layout": layout, "dry_run": dry_run})


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def process(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    machine, more = prepared(folder)
    with agent(env(shim, folder), folder, *more) as running:
        yield Node(running, machine, folder / "token")


@pytest.fixture
def node(process: Node) -> Node:
    """The agent, with its GPU whole again."""
    process.machine.mend()
    process.machine.__init__(process.token_file.parent / "machine", "h100-80gb")  # type: ignore[misc]
    process.token_file.write_text(f"{TOKEN}\n")
    for kept in (process.token_file.parent / "journal").glob("*.json"):
        kept.unlink()
    return process


def prepared(folder: Path) -> tuple[Machine, tuple[str, ...]]:
    """The machine and the options of an agent in that folder."""
    (folder / "token").write_text(TOKEN)
    answer(folder / "answers", {"init": "ok"})
    options = ("--mig", "--token-file", str(folder / "token"), "--journal", str(folder / "journal"))
    return Machine(folder / "machine", "h100-80gb"), options


def env(shim: Path, folder: Path) -> dict[str, str]:
    return environment(shim, folder / "answers") | {"NVML_SHIM_MACHINE": str(folder / "machine")}


def test_the_token_is_needed_for_everything(node: Node) -> None:
    for token in (None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff"):
        for body in (None, {"gpu": "GPU-0", "layout": [BIG], "dry_run": False}):
            answered = node.ask(body, token=token and token.encode("utf-8", "surrogateescape").decode("latin-1"))
            assert (answered.status, answered.media_type) == (401, "application/problem+json")
    assert node.machine.state.changes == 0
    assert node.ask(token=f"bearer {TOKEN}").status == 200


def test_the_token_is_read_anew_and_without_one_nobody_is_let_in(node: Node) -> None:
    node.token_file.write_text("another\n")
    assert node.ask().status == 401
    assert node.ask(token="Bearer another").status == 200
    node.token_file.write_text("\n")
    refused = node.ask(token="Bearer ")
    assert (refused.status, refused.body["detail"]) == (503, "the agent's token file cannot be used; its log says why")


def test_layouts_are_told_and_changed(node: Node) -> None:
    (whole,) = node.ask().body["gpus"]
    assert (whole["board"], whole["mig"], whole["layout"][0]["profile"], whole["last"]) == (
        "h100-80gb",
        False,
        "whole",
        None,
    )
    planned = node.cut(BIG, SMALL, dry_run=True)
    assert (planned.status, planned.body["state"]) == (200, "planned")
    assert node.machine.state.changes == 0
    done = node.cut(BIG, SMALL)
    assert (done.status, done.body["state"], [step["done"] for step in done.body["steps"]]) == (200, "done", [True] * 3)
    (cut,) = node.ask().body["gpus"]
    uuids = node.machine.slices()
    assert [(piece["profile"], piece["start"], piece["uuids"], piece["sm"]) for piece in cut["layout"]] == [
        ("1g.10gb", 0, [uuids[Slice("1g.10gb", 0)]], 16),
        ("3g.40gb", 4, [uuids[Slice("3g.40gb", 4)]], 60),
    ]
    assert cut["last"] == done.body


def test_a_change_is_a_dry_run_unless_it_says_otherwise(node: Node) -> None:
    assert node.ask({"gpu": "GPU-0", "layout": [BIG]}).body["state"] == "planned"
    assert node.machine.state.changes == 0


def test_what_is_in_use_is_refused_with_the_process_and_the_steps(node: Node) -> None:
    node.cut(BIG)
    node.machine.attach(os.getpid(), Slice("3g.40gb", 4))
    refused = node.cut(SMALL)
    assert (refused.status, refused.media_type) == (409, "application/problem+json")
    assert f"3g.40gb at 4 is in use by {os.getpid()} (" in refused.body["detail"]
    assert [step["action"] for step in refused.body["outcome"]["steps"]] == ["destroy", "create"]


def test_a_step_that_fails_is_a_problem_with_what_was_done(node: Node) -> None:
    node.machine.fail(Fault.ERROR_BEFORE, at_change=3)
    failed = node.cut(BIG)
    assert (failed.status, failed.body["outcome"]["state"]) == (502, "failed")
    assert [step["done"] for step in failed.body["outcome"]["steps"]] == [True, False]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"no JSON", 422, "one JSON object"),
        ([], 422, ""),
        ({}, 422, "gpu: nothing is not allowed; it is required; layout: nothing is not allowed; it is required"),
        (
            {"gpu": "GPU-0", "layout": [{"profile": "1g.11gb"}]},
            422,
            "layout[0].profile: '1g.11gb' is not allowed; did you",
        ),
        ({"gpu": "GPU-0", "layout": [{"profile": "1g.10gb", "start": -1}]}, 422, "layout[0].start: -1 is not allowed"),
        ({"gpu": "GPU-0", "layout": [], "force": True}, 422, "force: this key is not allowed"),
        ({"gpu": "GPU-9", "layout": []}, 404, "no GPU named 'GPU-9'; known: GPU-0"),
        ({"gpu": "GPU-0", "layout": [{"profile": "3g.40gb", "start": 2}]}, 409, "h100-80gb cannot have this layout"),
        (b"[" * 70_000, 413, ""),
    ],
    ids=["no JSON", "no object", "nothing", "profile", "start", "key", "GPU", "layout", "too large"],
)
def test_what_cannot_be_asked_is_a_problem(node: Node, body: object, status: int, words: str) -> None:
    answered = node.ask(body)
    assert (answered.status, answered.media_type) == (status, "application/problem+json")
    assert answered.body["status"] == status
    assert words in answered.body["detail"]
    assert node.machine.state.changes == 0


def test_a_change_that_hangs_holds_up_neither_the_page_nor_the_layouts(shim: Path, tmp_path: Path) -> None:
    machine, more = prepared(tmp_path)
    with agent(env(shim, tmp_path), tmp_path, *more) as running:
        node = Node(running, machine, tmp_path / "token")
        machine.fail(Fault.HANG, at_change=1)
        body = json.dumps({"gpu": "GPU-0", "layout": [BIG], "dry_run": False})
        hanging = subprocess.Popen(
            [sys.executable, "-c", POST, f"{node.url}/mig", f"Bearer {TOKEN}", body], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while machine.state.changes == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert running.page()["controlplane_agent_nvml_up"] == [({"reason": ""}, 1.0)]
        (gpu,) = node.ask().body["gpus"]
        assert (gpu["last"]["state"], gpu["last"]["detail"]) == ("under_way", "step 1 is begun")
        assert running.end() == 0
        hanging.kill()
        hanging.wait()
    machine.mend()
    with agent(env(shim, tmp_path), tmp_path, *more) as running:  # and the next agent goes on with it
        until(lambda: set(machine.slices()) == {Slice("3g.40gb", 4)})
        node = Node(running, machine, tmp_path / "token")
        until(lambda: node.ask().body["gpus"][0]["last"]["state"] == "done")


POST = """
import sys, urllib.request
_, url, token, body = sys.argv
urllib.request.urlopen(urllib.request.Request(url, body.encode(), {"Authorization": token}))
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_a_driver_it_says_so(tmp_path: Path) -> None:
    if HAS_DRIVER:
        pytest.skip("this machine has an NVIDIA driver")
    machine, more = prepared(tmp_path)
    with agent(dict(os.environ), tmp_path, *more) as running:
        told = Node(running, machine, tmp_path / "token").ask()
    assert told.status == 503
    assert told.body["detail"] == "NVML: no NVIDIA driver on this machine (libnvidia-ml.so.1 not found)"


def test_by_itself_an_agent_cuts_nothing(shim: Path, tmp_path: Path) -> None:
    prepared(tmp_path)
    with agent(env(shim, tmp_path), tmp_path) as running, pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(running.url.replace("/metrics", "/mig"), timeout=10)
    with raised.value:
        assert raised.value.code == 404


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mig",), "--mig: alone, without --token-file, is not allowed; both or neither"),
        (("--token-file", "there"), "--token-file: alone, without --mig, is not allowed; both or neither"),
        (("--mig", "--token-file", "missing"), "token_file missing cannot be read: No such file or directory"),
    ],
)
def test_half_of_what_cutting_takes_is_a_fault_of_usage(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["agent", *options]) == 2
    assert words in capsys.readouterr().err


# The client


def client(node: Node, **urls: str) -> MigAgents:
    return MigAgents({"node-1": node.url, **urls}, lambda: TOKEN, read_timeout_s=10, change_timeout_s=10)


async def test_the_client_reads_and_changes_layouts(node: Node) -> None:
    actuator = client(node)
    try:
        (before,) = await actuator.layouts("node-1")
        assert (before.layout, before.board, before.mig) == ((Slice("whole", 0),), "h100-80gb", False)
        wanted = (Slice("1g.10gb", 0), Slice("3g.40gb", 4))
        planned = await actuator.apply("node-1", "GPU-0", wanted, dry_run=True)
        assert (planned.state, [step.done for step in planned.steps]) == (LayoutState.PLANNED, [False] * 3)
        done = await actuator.apply("node-1", "GPU-0", wanted, dry_run=False)
        assert (done.state, {s.piece: s.uuid for s in done.steps if s.uuid}) == (
            LayoutState.DONE,
            node.machine.slices(),
        )
        (after,) = await actuator.layouts("node-1")
        assert (after.layout, after.last) == (wanted, done)
        node.machine.attach(4194404, Slice("3g.40gb", 4))
        refused = await actuator.apply("node-1", "GPU-0", (), dry_run=False)
        assert (refused.state, refused.detail) == (LayoutState.REFUSED, "3g.40gb at 4 is in use by 4194404")
        assert [step.piece for step in refused.steps] == [Slice("1g.10gb", 0), Slice("3g.40gb", 4)]
        node.machine.fail(Fault.ERROR_BEFORE, at_change=1)
        failed = await actuator.apply("node-1", "GPU-0", wanted[1:], dry_run=False)
        assert failed.state is LayoutState.FAILED
    finally:
        await actuator.close()


async def test_the_client_tells_apart_who_refuses_and_who_does_not_answer(node: Node) -> None:
    node.machine.state.right = 0
    actuator = client(node, gone="http://127.0.0.1:9", nowhere="http://")
    try:
        with pytest.raises(TargetUnreachableError, match="agent gone: connection refused"):
            await actuator.layouts("gone")
        with pytest.raises(TargetUnreachableError, match="agent nowhere: its URL is not valid"):
            await actuator.layouts("nowhere")
        with pytest.raises(NotFoundError, match="no node with an agent named 'other'"):
            await actuator.layouts("other")
        gone = await actuator.apply("gone", "GPU-0", (), dry_run=False)
        assert (gone.state, gone.detail) == (LayoutState.UNREACHABLE, "agent gone: connection refused")
        denied = await actuator.apply("node-1", "GPU-0", (), dry_run=False)
        assert denied.state is LayoutState.UNREACHABLE
        assert denied.detail == "agent node-1: NVML: no permission to ask the NVIDIA driver"
        node.token_file.write_text("another")
        with pytest.raises(ConflictError, match="agent node-1: the bearer token of the agent's token file is needed"):
            await actuator.layouts("node-1")
        other = await actuator.apply("other", "GPU-0", (), dry_run=False)
        assert other.state is LayoutState.REFUSED
    finally:
        await actuator.close()


# The command


def applied(node: Node, tmp_path: Path, layouts: object, *more: str) -> int:
    file = tmp_path / "layouts.json"
    file.write_text(json.dumps(layouts))
    options = ["--input", str(file), "--agent", node.url, "--token-file", str(node.token_file)]
    return execute(["mig", "apply", *options, *more])


WANTED = {"layouts": [{"uuid": "GPU-0", "board": "h100-80gb", "layout": [BIG, SMALL]}], "optimal": True}


def test_apply_draws_the_difference_and_changes_nothing_until_yes(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert applied(node, tmp_path, WANTED) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "now"
    assert lines[1].startswith("GPU-0      [                                whole  ")
    assert lines[3] == "as asked for"
    assert lines[4] == "GPU-0      [1g.10gb]········ ········ ········ [             3g.40gb              ]"
    assert lines[-1] == "3 steps, 0 done; --yes does them"
    assert node.machine.state.changes == 0
    assert applied(node, tmp_path, WANTED, "--yes") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 steps, 3 done"
    assert set(node.machine.slices()) == {Slice("1g.10gb", 0), Slice("3g.40gb", 4)}
    assert applied(node, tmp_path, WANTED, "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["dry_run"], told["gpus"][0]["state"], told["gpus"][0]["steps"]) == (False, "done", [])


def test_show_draws_gpus_as_they_are_and_what_it_tells_can_be_planned_from(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.cut(BIG)
    options = ["--agent", node.url, "--token-file", str(node.token_file)]
    assert execute(["mig", "show", *options]) == 0
    drawn = capsys.readouterr().out.splitlines()[0]
    assert drawn == "GPU-0      ········ ········ ········ ········ [             3g.40gb              ]"
    assert execute(["mig", "show", *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"gpus": [{"uuid": "GPU-0", "board": "h100-80gb", "layout": [BIG]}]}
    profile = next(p.nvml or 0 for p in node.machine.board().profiles if p.name == "3g.40gb")
    node.machine.state.gpu[0].profiles[profile].most = 3
    assert execute(["mig", "show", *options]) == 0
    why = "GPU-0: 3g.40gb: the driver has count 3, the table of h100-80gb 2"
    assert capsys.readouterr().out.splitlines()[-1] == why
    assert execute(["mig", "show", *options[:2]]) == 2
    assert "--input, or --agent with --token-file" in capsys.readouterr().err


def test_apply_fails_where_a_gpu_is_refused_and_says_why(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.cut(BIG)
    node.machine.attach(4194404, Slice("3g.40gb", 4))
    changes = node.machine.state.changes
    none = {"layouts": [{"uuid": "GPU-0", "board": "h100-80gb", "layout": [SMALL]}]}
    assert applied(node, tmp_path, none, "--yes") == 1
    told = capsys.readouterr().out
    assert "refused: GPU-0: 3g.40gb at 4 is in use by 4194404" in told
    assert "[             4194404              ]" in told
    assert applied(node, tmp_path, none, "--yes", "--json") == 1
    assert json.loads(capsys.readouterr().out)["gpus"][0]["state"] == "refused"
    assert node.machine.state.changes == changes


@pytest.mark.parametrize(
    ("layouts", "code", "words"),
    [
        ({}, 2, "layouts: nothing is not allowed; a list"),
        (
            {"layouts": [{"uuid": "GPU-0", "board": "h100-80gb", "layout": [{"profile": "3g.40gb", "start": 2}]}]},
            2,
            "[0].start",
        ),
        (
            {"layouts": [{"uuid": "GPU-7", "board": "h100-80gb"}]},
            1,
            "no GPU of these agents named 'GPU-7'; known: GPU-0",
        ),
        ({"layouts": [{"uuid": "GPU-0", "board": "a100-80gb"}]}, 1, "the file says a100-80gb, and it is h100-80gb"),
    ],
    ids=["nothing", "place", "GPU", "board"],
)
def test_what_cannot_be_applied_is_told(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], layouts: object, code: int, words: str
) -> None:
    assert applied(node, tmp_path, layouts, "--yes") == code
    assert words in capsys.readouterr().err


def test_an_agent_or_token_that_cannot_be_is_a_fault_of_usage(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert applied(node, tmp_path, WANTED, "--agent", "node-1:8901") == 2
    assert "--agent: node-1:8901 is not allowed; http(s)://HOST[:PORT] is allowed" in capsys.readouterr().err
    node.token_file.write_text("two words")
    assert applied(node, tmp_path, WANTED) == 2
    assert "must hold one token" in capsys.readouterr().err
