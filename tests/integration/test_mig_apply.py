"""The client that the loop has for agents that cut, and `controlplane mig apply` and `show` on top of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from controlplane.act.mig.agents import MigAgents
from controlplane.cli.main import execute
from controlplane.decide.mig import Slice
from controlplane.domain.errors import ConflictError, NotFoundError, TargetUnreachableError
from controlplane.domain.mig import Act, CopyState, LayoutState
from tests.nvml_shim.drive import build
from tests.nvml_shim.machine import Fault
from tests.nvml_shim.node import BIG, SMALL, TOKEN, Node, cutting_agent


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def process(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with cutting_agent(shim, tmp_path_factory.mktemp("node")) as started:
        yield started


@pytest.fixture
def node(process: Node) -> Node:
    return process.whole()


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
        with pytest.raises(ConflictError, match="agent node-1: it did not accept the token of the token's file"):
            await actuator.layouts("node-1")
        other = await actuator.apply("other", "GPU-0", (), dry_run=False)
        assert other.state is LayoutState.REFUSED
    finally:
        await actuator.close()


@pytest.mark.parametrize(
    ("status", "layout", "copy"),
    [
        (501, LayoutState.REFUSED, CopyState.REFUSED),
        (500, LayoutState.UNREACHABLE, CopyState.UNREACHABLE),
        (418, LayoutState.REFUSED, CopyState.REFUSED),
    ],
)
async def test_what_a_node_cannot_do_at_all_is_a_refusal(status: int, layout: LayoutState, copy: CopyState) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        actuator = MigAgents({"n": str(server.make_url("/"))}, lambda: TOKEN)
        try:
            assert (await actuator.apply("n", "GPU-0", (), dry_run=True)).state is layout
            ran = await actuator.run("n", Act.START, "GPU-0", Slice("whole", 0), "small")
            assert (ran.state, ran.detail) == (copy, f"agent n: answered HTTP {status}")
        finally:
            await actuator.close()


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


def test_a_token_that_the_agent_does_not_know_is_told_with_the_file_that_it_is_from(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_text("another")
    why = f"controlplane: agent {node.url}: it did not accept the token of --token-file {other}\n"
    assert applied(node, tmp_path, WANTED, "--token-file", str(other)) == 1
    assert capsys.readouterr().err == why
    assert execute(["mig", "show", "--agent", node.url, "--token-file", str(other)]) == 1
    assert capsys.readouterr().err == why
