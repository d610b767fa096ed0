"""Whose turn it is to have a copy started: an agent answers in a known time, and its client asks again."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from controlplane.act.mig.agents import MigAgents
from controlplane.agent.mig.copies import TURN_S, Copies
from controlplane.agent.mig.routes import _READ_S, MigRoutes
from controlplane.cli.agent import agent
from controlplane.domain.mig import Act, CopyOutcome, CopyState, CutSlice, GpuLayout, Slice
from controlplane.loop.clock import wall_clock
from tests.nvml_shim.turns import turns, until

COMMAND = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "begun $3" >> turns
while [ ! -e go ]; do sleep 0.02; done
"""
PIECES = tuple(Slice("1g.10gb", start) for start in range(4))
SLICES = tuple(CutSlice(piece, 1, (f"MIG-{piece.start}",)) for piece in PIECES)
LAYOUT = GpuLayout("GPU-0", "H100", "h100-80gb", mig=True, mig_pending=True, slices=SLICES)
TOKEN = "a-token-of-some-length"


@pytest.fixture
def command(tmp_path: Path) -> Path:
    file = tmp_path / "copies"
    file.write_text(COMMAND)
    file.chmod(0o755)
    (tmp_path / "token").write_text(TOKEN)
    return file


@pytest.fixture
async def url(command: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An agent that runs one command at a time, and tells who waits so after a moment."""
    monkeypatch.setattr("controlplane.agent.mig.cutter.Cutter.layouts", lambda _: (LAYOUT,))
    folder = command.parent
    copies = Copies(command, 30.0, folder / "journal", 1, turn_s=0.3)
    routes = MigRoutes(folder / "token", folder / "journal", wall_clock, copies=copies)
    app = web.Application()
    routes.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    (folder / "go").touch()
    await runner.cleanup()
    routes.close()


def client(url: str, *, copy_timeout_s: float = 30.0) -> MigAgents:
    return MigAgents({"n": url}, lambda: TOKEN, copy_timeout_s=copy_timeout_s)


async def test_waiting_for_a_slot_is_no_refusal(command: Path, url: str) -> None:
    agents = client(url)
    told: list[CopyOutcome] = []

    async def patient(piece: Slice) -> CopyState:
        while (outcome := await agents.run("n", Act.START, "GPU-0", piece, "small")).state is CopyState.WAITING:
            told.append(outcome)
        return outcome.state

    tasks = [asyncio.create_task(patient(piece)) for piece in PIECES]
    await until(lambda: len({outcome.piece for outcome in told}) == 3)
    assert {outcome.detail for outcome in told} == {
        "1 commands are under way on other slices, and no more may be: ask again"
    }
    (command.parent / "go").touch()
    assert {await task for task in tasks} == {CopyState.DONE}
    assert sorted(turns(command.parent)) == [f"begun MIG-{piece.start}" for piece in PIECES]
    await agents.close()


async def test_what_nobody_waits_for_any_more_is_not_begun_at_its_turn(command: Path, url: str) -> None:
    agents, gone = client(url), client(url, copy_timeout_s=0.1)
    first = asyncio.create_task(agents.run("n", Act.START, "GPU-0", PIECES[0], "small"))
    await until(lambda: turns(command.parent))
    unheard = await gone.run("n", Act.START, "GPU-0", PIECES[1], "small")
    assert unheard.state is CopyState.UNREACHABLE
    (command.parent / "go").touch()
    assert (await first).state is CopyState.DONE
    assert (await agents.run("n", Act.START, "GPU-0", PIECES[2], "small")).state is CopyState.DONE
    assert turns(command.parent) == ["begun MIG-0", "begun MIG-2"]
    await agents.close()
    await gone.close()


def test_a_client_waits_longer_than_an_agent_may_take() -> None:
    """For a turn, for the device of the slice, and for the longest that a command may be allowed."""
    waits_s = inspect.signature(MigAgents).parameters["copy_timeout_s"].default
    (option,) = typing.get_type_hints(agent, include_extras=True)["copies_timeout_s"].__metadata__
    assert waits_s > TURN_S + _READ_S + option.max
