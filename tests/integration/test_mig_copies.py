"""Copies of models on slices, started and drained by a site's own command through the agent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from controlplane.act.mig.agents import MigAgents
from controlplane.agent.mig.copy_journal import KEPT_BYTES
from controlplane.cli.main import execute
from controlplane.collect.gpu.agent_page import gpus_of_page
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.domain.layouts import StepEnd, StepKind
from controlplane.domain.mig import Act, CopyOutcome, CopyState
from controlplane.domain.signal import Known, known
from controlplane.loop.mig_going import ResetRequiredError
from controlplane.loop.mig_hands import ByAgents
from tests.integration.test_agent import agent
from tests.nvml_shim.drive import build
from tests.nvml_shim.machine import Machine
from tests.nvml_shim.node import BIG, SMALL, TOKEN, Node, cutting_agent, env, prepared
from tests.nvml_shim.turns import turns, until
from tests.unit.loop.mig_node import Free

COMMAND = """#!/bin/sh
# A copy is a process that sleeps, by the pid in a file of its slice's name.
cd "$(dirname "$0")" || exit 1
echo "$1 $2 $3 $NVIDIA_VISIBLE_DEVICES $CONTROLPLANE_GPU $CONTROLPLANE_PROFILE" >> asked
env > env
case "$2" in
  slow) echo "begun $$" >> turns; while [ ! -e go ]; do sleep 0.02; done; echo "ended $$" >> turns ;;
  broken) echo "no image named $2"; exit 3 ;;
  talks)
    for turn in 1 2; do
      head -c 20000000 /dev/zero | tr '\\0' x; echo; echo "words of turn $turn"; echo said >> "said$turn"
      while [ ! -e "go$turn" ]; do sleep 0.02; done
    done ;;
  hangs) echo "pulling the image"; sleep 600 & echo $! > child; wait ;;
esac
alive() { kill -0 "$(cat "$3.pid" 2>/dev/null)" 2>/dev/null; }
case "$1" in
  start) alive "$@" || { sleep 600 >/dev/null 2>&1 & echo $! > "$3.pid"; } ;;
  drain) if alive "$@"; then kill "$(cat "$3.pid")"; fi; rm -f "$3.pid" ;;
esac
"""
PIECE = Slice("3g.40gb", 4)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    command = folder / "copies.sh"
    command.write_text(COMMAND)
    command.chmod(0o755)
    options = ("--copies", str(command), "--copies-timeout", "6")
    with cutting_agent(build(tmp_path_factory.mktemp("nvml")), folder, *options) as started:
        yield started
    for file in folder.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.fixture
def node(process: Node) -> Node:
    return process.whole()


@pytest.fixture
async def agents(node: Node) -> AsyncIterator[MigAgents]:
    made = MigAgents({"n": node.url, "gone": "http://127.0.0.1:9"}, lambda: TOKEN)
    yield made
    await made.close()


def folder(node: Node) -> Path:
    return node.token_file.parent


def pid(node: Node, uuid: str) -> int | None:
    file = folder(node) / f"{uuid}.pid"
    return int(file.read_text()) if file.exists() else None


def is_alive(number: int) -> bool:
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def run(agents: MigAgents, act: Act, model: str = "small", piece: Slice = PIECE, node: str = "n") -> CopyOutcome:
    return await agents.run(node, act, "GPU-0", piece, model)


async def test_a_copy_is_started_once_and_drained_on_the_device_of_its_slice(node: Node, agents: MigAgents) -> None:
    node.cut(BIG, SMALL)
    uuid = node.machine.slices()[PIECE]
    assert node.ask().body["copies"] is True
    assert await run(agents, Act.START) == CopyOutcome("GPU-0", PIECE, "small", CopyState.DONE)
    first = pid(node, uuid)
    assert first is not None
    assert is_alive(first)
    assert (await run(agents, Act.START)).state is CopyState.DONE
    assert pid(node, uuid) == first
    assert (await run(agents, Act.DRAIN)).state is CopyState.DONE
    await until(lambda: not is_alive(first))
    assert (await run(agents, Act.DRAIN)).state is CopyState.DONE
    log = (folder(node) / "asked").read_text().splitlines()
    assert log[0] == f"start small {uuid} {uuid} GPU-0 3g.40gb"


async def test_of_a_whole_gpu_the_device_is_the_gpu(node: Node, agents: MigAgents) -> None:
    assert (await run(agents, Act.START, piece=Slice("whole", 0))).state is CopyState.DONE
    assert pid(node, "GPU-0")
    assert (await run(agents, Act.DRAIN, piece=Slice("whole", 0))).state is CopyState.DONE


async def test_a_command_that_fails_is_told_with_what_it_said_and_learns_no_secret(
    node: Node, agents: MigAgents
) -> None:
    node.cut(BIG)
    failed = await run(agents, Act.START, "broken")
    assert failed.state is CopyState.FAILED
    assert failed.detail.endswith("copies.sh start ended with exit code 3: no image named broken")
    passed_on = {line.partition("=")[0] for line in (folder(node) / "env").read_text().splitlines()}
    ours = {"NVIDIA_VISIBLE_DEVICES", "CONTROLPLANE_GPU", "CONTROLPLANE_PROFILE"}
    assert passed_on <= ours | {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "PWD", "OLDPWD", "SHLVL", "_"}


async def test_a_command_that_hangs_is_killed_with_what_it_started_and_holds_up_no_other_slice(
    node: Node, agents: MigAgents
) -> None:
    node.cut(BIG, SMALL)
    hanging = asyncio.create_task(run(agents, Act.START, "hangs"))
    child = folder(node) / "child"
    await until(lambda: child.exists() and child.read_text())
    assert (await run(agents, Act.START, piece=Slice("1g.10gb", 0))).state is CopyState.DONE
    assert not hanging.done()
    failed = await hanging
    assert failed.state is CopyState.FAILED
    assert failed.detail.endswith("start did not end within 6 s and was killed: pulling the image")
    await until(lambda: not is_alive(int(child.read_text())))
    child.unlink()
    await run(agents, Act.DRAIN, piece=Slice("1g.10gb", 0))


def commanded(folder: Path) -> tuple[Path, Machine, tuple[str, ...]]:
    """The shim's folder, its machine, and the options of an agent that is given the command."""
    (folder / "shim").mkdir()
    command = folder / "copies.sh"
    command.write_text(COMMAND)
    command.chmod(0o755)
    machine, options = prepared(folder)
    return build(folder / "shim"), machine, (*options, "--copies", str(command))


async def test_a_command_that_outlives_its_agent_is_waited_for_by_the_next_one(tmp_path: Path) -> None:
    shim, machine, options = commanded(tmp_path)
    asked = {"gpu": "GPU-0", **BIG, "model": "slow", "act": "start"}
    with agent(env(shim, tmp_path), tmp_path, *options) as running:
        first = Node(running, machine, tmp_path / "token")
        first.cut(BIG)
        lost = asyncio.create_task(asyncio.to_thread(first.ask, asked, path="/mig/copies"))
        await until(lambda: turns(tmp_path))
        running.end(signal.SIGKILL)
        with pytest.raises(OSError, match=r"."):
            await lost
    with agent(env(shim, tmp_path), tmp_path, *options) as running:
        assert "a command of an earlier agent still runs" in (tmp_path / "log").read_text()
        second = Node(running, machine, tmp_path / "token")
        again = asyncio.create_task(asyncio.to_thread(second.ask, asked, path="/mig/copies"))
        assert (await asyncio.to_thread(second.ask)).status == 200, "others are answered meanwhile"
        assert [turn.split()[0] for turn in turns(tmp_path)] == ["begun"]
        (tmp_path / "go").touch()
        assert (await again).status == 200
    words, pids = zip(*(turn.split() for turn in turns(tmp_path)), strict=True)
    assert words == ("begun", "ended", "begun", "ended")
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert list((tmp_path / "journal" / "copies").iterdir()) == []


async def test_of_what_a_command_says_only_the_end_takes_room_while_it_runs_whichever_agent_there_is(
    tmp_path: Path,
) -> None:
    shim, machine, options = commanded(tmp_path)
    output = tmp_path / "journal" / "copies" / "GPU-0-3g.40gb-4.out"
    asked = {"gpu": "GPU-0", **BIG, "model": "talks", "act": "start"}

    def little_room() -> bool:
        return output.stat().st_blocks * 512 <= 2 * KEPT_BYTES

    with agent(env(shim, tmp_path), tmp_path, *options) as running:
        first = Node(running, machine, tmp_path / "token")
        first.cut(BIG)
        lost = asyncio.create_task(asyncio.to_thread(first.ask, asked, path="/mig/copies"))
        await until((tmp_path / "said1").exists)
        await until(little_room)
        running.end(signal.SIGKILL)
        with pytest.raises(OSError, match=r"."):
            await lost
    (tmp_path / "go1").touch()
    await until((tmp_path / "said2").exists)
    assert output.stat().st_size > 10_000_000, "nobody is there to let go of it"
    with agent(env(shim, tmp_path), tmp_path, *options) as running:
        await until(little_room)
        (tmp_path / "go2").touch()
        await until(lambda: "words of turn 2" in (tmp_path / "log").read_text())
        await until(lambda: not output.exists())


async def test_what_cannot_be_started_is_refused_with_the_reason(node: Node, agents: MigAgents) -> None:
    node.cut(BIG)
    refused = await run(agents, Act.START, piece=Slice("3g.40gb", 0))
    assert refused.state is CopyState.REFUSED
    assert "no slice of GPU GPU-0 named '3g.40gb at 0'; known: 3g.40gb at 4" in refused.detail
    refused = await run(agents, Act.START, "a model; rm -rf /")
    assert refused.state is CopyState.REFUSED
    assert "letters, digits" in refused.detail
    assert (await run(agents, Act.START, node="gone")).state is CopyState.UNREACHABLE
    assert (await run(agents, Act.START, node="other")).state is CopyState.REFUSED
    node.token_file.write_text("another")
    assert (await run(agents, Act.START)).state is CopyState.REFUSED
    with pytest.raises(ValueError, match="create"):
        await run(agents, Act.CREATE)


def copy(node: Node, act: str, model: str, *more: str) -> int:
    where = ("--agent", node.url, "--token-file", str(node.token_file), "--gpu", "GPU-0")
    return execute(["mig", "copy", act, model, *where, *more])


def test_a_copy_is_started_and_drained_by_hand(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.cut(BIG)
    uuid, big = node.machine.slices()[PIECE], ("--profile", "3g.40gb", "--start", "4")
    assert copy(node, "start", "small", *big) == 0
    assert capsys.readouterr().out == "start of small on 3g.40gb at 4 of GPU-0: done\n"
    assert pid(node, uuid) is not None
    assert copy(node, "drain", "small", *big, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "gpu": "GPU-0",
        **BIG,
        "model": "small",
        "state": "done",
        "detail": "",
    }
    assert pid(node, uuid) is None
    assert copy(node, "start", "broken", *big) == 1
    failed = capsys.readouterr()
    assert failed.out == ""
    assert failed.err.startswith("controlplane: start of broken on 3g.40gb at 4 of GPU-0: failed: ")
    assert failed.err.count("\n") == 1
    assert copy(node, "start", "small") == 1
    assert "refused: agent http" in capsys.readouterr().err
    assert copy(node, "stop", "") == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  ACT: 'stop' is not allowed; one of: start, drain",
        "  MODEL: nothing is not allowed; it is required",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--copies", "/bin/sh"), "--copies: /bin/sh is not allowed; only with --mig"),
        (("--mig", "--token-file", "TOKEN", "--copies", "bin/sh"), "the absolute path of a file that may be executed"),
        (("--mig", "--token-file", "TOKEN", "--copies", "TOKEN"), "the absolute path of a file that may be executed"),
        (
            ("--mig", "--token-file", "TOKEN", "--copies", "OPEN"),
            "may be written by others than its owner",
        ),
    ],
    ids=["alone", "not absolute", "not executable", "open to others"],
)
def test_a_command_that_cannot_be_is_a_fault_of_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    command = tmp_path / "copies"
    command.write_text(COMMAND)
    command.chmod(0o775)
    files = {"TOKEN": str(token), "OPEN": str(command)}
    assert execute(["agent", "--port", "0", *(files.get(option, option) for option in options)]) == 2
    assert words in capsys.readouterr().err


async def test_a_plan_of_the_loop_is_carried_out_by_the_agent_step_by_step(node: Node, agents: MigAgents) -> None:
    """The old copy is drained once the new one answers, and its slice goes once it is free."""
    node.cut(BIG)
    assert (await run(agents, Act.START)).state is CopyState.DONE
    old = node.machine.slices()[PIECE]
    board = node.machine.board()
    gpu = Gpu("GPU-0", board, (PIECE,), 1.0, {PIECE: ("small",)})
    small = MigModel("small", 10.0, {"1g.10gb": 5.0, "3g.40gb": 5.0}, 6.0)
    large = MigModel("large", 8.0, {"4g.40gb": 8.0}, 30.0)
    plan = propose(MigAsk(MigQuestion((gpu,), (small, large)), 3600.0))
    assert plan.pays

    def serves(_: str, __: str, piece: Slice) -> bool:
        number = pid(node, node.machine.slices()[piece])
        return number is not None and is_alive(number)

    free = Free()
    await ByAgents(agents, agents, serves=serves, start_s=5.0, poll_s=0.01).carry_out(plan, {"GPU-0": "n"}, free)
    assert free.done == len(plan.steps)
    wanted = {Slice(piece.profile, piece.start) for piece in plan.layouts["GPU-0"]}
    assert set(node.machine.slices()) == wanted
    assert {p.profile for p in wanted} == {"4g.40gb", "1g.10gb"}
    assert old not in node.machine.slices().values()
    assert pid(node, old) is None
    log = [line.split()[:2] for line in (folder(node) / "asked").read_text().splitlines()]
    assert log[-len([s for s in plan.steps if s.model]) :].index(["drain", "small"]) > 0
    for piece in sorted(wanted):
        model = "large" if piece.profile == "4g.40gb" else "small"
        assert (await run(agents, Act.DRAIN, model, piece)).state is CopyState.DONE


async def test_an_ampere_waits_for_its_reset_as_its_page_tells_and_is_cut_after_it(
    node: Node, agents: MigAgents
) -> None:
    node.machine.state.gpu[0].resets = 1  # as Ampere does, whatever the board
    board = node.machine.board()
    idle = Gpu("GPU-0", board, (Slice("whole", 0),))
    small = MigModel("small", 4.0, {"1g.10gb": 5.0}, 6.0)
    plan, free = propose(MigAsk(MigQuestion((idle,), (small,)), 3600.0)), Free()
    hands = ByAgents(agents, agents, serves=lambda *_: True, start_s=5.0, poll_s=0.01)
    assert await told_by_page(node) == (False, False)
    with pytest.raises(ResetRequiredError, match="nvidia-smi --gpu-reset -i GPU-0") as raised:
        await hands.carry_out(plan, {"GPU-0": "n"}, free)
    assert (raised.value.node, raised.value.gpu) == ("n", "GPU-0")
    assert free.ends == {(StepKind.MODE, StepEnd.RESET_REQUIRED): 1}
    assert await told_by_page(node) == (False, True)
    node.machine.reset()
    assert await told_by_page(node) == (True, True)
    await hands.carry_out(plan, {"GPU-0": "n"}, free)
    assert {piece.profile for piece in node.machine.slices()} == {"1g.10gb"}
    assert free.ends[StepKind.CREATE, StepEnd.DONE] == 1
    (piece,) = node.machine.slices()
    assert (await run(agents, Act.DRAIN, "small", piece)).state is CopyState.DONE


async def told_by_page(node: Node) -> tuple[bool | None, bool | None]:
    """Whether MIG is on, and after the next reset, by the agent's metrics page."""
    async with aiohttp.ClientSession() as session, session.get(node.running.url) as answer:
        gpus = gpus_of_page(await answer.text(), "n", 1.0)
    assert isinstance(gpus, Known)
    (gpu,) = gpus.value
    return known(gpu.mig_enabled), known(gpu.mig_pending)
