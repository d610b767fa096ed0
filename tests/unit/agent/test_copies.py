"""The site's command: how many run at once, whose turn it is, who may have written it, and what outlives an agent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import structlog

from controlplane.agent.mig.copies import _GATE, TURN_S, Copies
from controlplane.agent.mig.copy_journal import CopyJournal
from controlplane.agent.mig.trust import _replaceable, untrusted
from controlplane.domain.errors import NotFoundError
from controlplane.domain.mig import Act, CopyOutcome, CopyState, Slice
from tests.nvml_shim.turns import turns, until

COMMAND = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "begun $3" >> turns
while [ ! -e go ]; do sleep 0.02; done
echo "ended $3" >> turns
"""
PIECES = tuple(Slice("1g.10gb", start) for start in range(4))


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "copies"
    file.write_text(COMMAND)
    file.chmod(0o755)
    yield file
    (tmp_path / "go").touch()


class Site:
    """Copies started by that command, which goes on once it may; `found` are the slices of which a device was asked."""

    def __init__(self, command: Path, *, deadline_s: float = 30.0, at_once: int = 4, turn_s: float = TURN_S) -> None:
        self.folder = command.parent
        self.copies = Copies(command, deadline_s, self.folder / "journal", at_once, turn_s=turn_s)
        self.found: list[Slice] = []

    @property
    def turns(self) -> list[str]:
        return turns(self.folder)

    def go(self) -> None:
        (self.folder / "go").touch()

    def start(self, piece: Slice = PIECES[0]) -> asyncio.Task[CopyOutcome]:
        async def find() -> str:
            self.found.append(piece)
            return f"MIG-{piece.start}"

        return self.asked(piece, find)

    def asked(self, piece: Slice, find: Callable[[], Awaitable[str]]) -> asyncio.Task[CopyOutcome]:
        return asyncio.create_task(self.copies.run(Act.START, "GPU-0", piece, "small", find))


async def test_no_more_commands_run_at_once_than_may_whatever_their_slices(command: Path) -> None:
    site = Site(command, at_once=2)
    tasks = [site.start(piece) for piece in PIECES]
    await until(lambda: len(site.turns) == 2 and len(site.copies._slots._waiters or ()) == 2)
    assert len(site.found) == 2, "no device is looked up before its turn"
    site.go()
    assert {outcome.state for outcome in await asyncio.gather(*tasks)} == {CopyState.DONE}
    under_way, most = 0, 0
    for turn in site.turns:
        under_way += 1 if turn.startswith("begun") else -1
        most = max(most, under_way)
    assert (most, len(site.turns)) == (2, 8)


async def test_the_device_of_a_slice_is_looked_up_when_it_is_its_turn(command: Path) -> None:
    """While the first command runs the slice may be cut anew, and has another device then."""
    site = Site(command)
    first = site.start()
    await until(lambda: site.turns)
    asked: list[str] = []

    async def find() -> str:
        asked.append("MIG-new")
        return asked[0]

    second = site.asked(PIECES[0], find)
    await until(lambda: site.copies._turns["GPU-0", PIECES[0]]._waiters)
    assert asked == []
    site.go()
    assert [(await task).state for task in (first, second)] == [CopyState.DONE, CopyState.DONE]
    assert site.turns == ["begun MIG-0", "ended MIG-0", "begun MIG-new", "ended MIG-new"]


async def test_a_slice_that_is_gone_by_its_turn_ends_that_request_only(command: Path) -> None:
    site = Site(command)
    site.go()

    async def gone() -> str:
        raise NotFoundError("slice of GPU GPU-0", "1g.10gb at 0")

    with pytest.raises(NotFoundError):
        await site.asked(PIECES[0], gone)
    assert (await site.start()).state is CopyState.DONE


async def test_who_waits_for_a_turn_is_told_so_and_nothing_is_begun(command: Path) -> None:
    site = Site(command, at_once=1, turn_s=0.05)
    first = site.start()
    await until(lambda: site.turns)
    same, other = await site.start(), await site.start(PIECES[1])
    assert (same.state, same.detail) == (
        CopyState.WAITING,
        "another command is under way on 1g.10gb at 0: ask again",
    )
    assert (other.state, other.detail) == (
        CopyState.WAITING,
        "1 commands are under way on other slices, and no more may be: ask again",
    )
    assert len(site.found) == 1
    site.go()
    assert (await first).state is CopyState.DONE
    assert [(await site.start(piece)).state for piece in PIECES[:2]] == [CopyState.DONE] * 2, "no turn was kept"


# who may have written it


@pytest.mark.parametrize(
    ("mode", "folder", "why"),
    [
        (0o755, 0o755, ""),
        (0o700, 0o700, ""),
        (0o755, 0o1777, ""),
        (0o775, 0o755, "{file} may be written by others than its owner: chmod go-w {file}"),
        (0o757, 0o755, "{file} may be written by others than its owner: chmod go-w {file}"),
        (
            0o755,
            0o777,
            "{folder} may be written by others than its owner, who could put another file there: chmod go-w {folder}",
        ),
        (0o644, 0o755, "{file} is not the absolute path of a file that may be executed"),
    ],
)
def test_what_others_may_write_is_not_trusted(tmp_path: Path, mode: int, folder: int, why: str) -> None:
    within = tmp_path / "bin"
    within.mkdir()
    file = within / "copies"
    file.write_text(COMMAND)
    file.chmod(mode)
    within.chmod(folder)
    assert untrusted(file) == why.format(file=file, folder=within)
    link = tmp_path / "link"
    link.symlink_to(file)
    assert bool(untrusted(link)) is bool(why), "a link is as good as what it names"


def test_a_link_that_others_may_replace_is_not_trusted(tmp_path: Path) -> None:
    file, opened = tmp_path / "copies", tmp_path / "open"
    file.write_text(COMMAND)
    file.chmod(0o755)
    opened.mkdir()
    opened.chmod(0o777)
    (opened / "link").symlink_to(file)
    (tmp_path / "relative").symlink_to("open/../copies")
    (tmp_path / "over").symlink_to(opened / "link")
    why = f"{opened} may be written by others than its owner, who could put another file there: chmod go-w {opened}"
    assert untrusted(opened / "link") == why
    assert untrusted(tmp_path / "over") == why
    assert untrusted(tmp_path / "relative") == "", "nothing is looked up in the folder that is open"
    opened.chmod(0o1777)
    assert untrusted(tmp_path / "over") == "", "where a folder is sticky its owner alone replaces the link"


def test_every_folder_above_counts(tmp_path: Path) -> None:
    file = tmp_path / "opt" / "bin" / "copies"
    file.parent.mkdir(parents=True)
    file.write_text(COMMAND)
    file.chmod(0o755)
    above = tmp_path / "opt"
    above.chmod(0o775)
    assert untrusted(file).startswith(f"{above} may be written by others than its owner")
    above.chmod(0o755)
    assert untrusted(file) == ""


def test_whose_the_folders_are_counts_and_in_sticky_ones_whose_the_entry_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in /tmp: whoever owns the folder of the command there may rename it."""
    within = tmp_path / "tmp"
    (within / "bin").mkdir(parents=True)
    within.chmod(0o1777)
    mine, entry = os.getuid(), within / "bin"
    assert _replaceable(within, "bin", {mine}) == ""
    whose = os.stat_result((0o40755, 0, 0, 1, mine + 1, 0, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "lstat", lambda path: whose if path == entry else os.lstat(path))
    assert _replaceable(within, "bin", {mine}).startswith(f"{entry} belongs to another user")
    within.chmod(0o755)
    assert _replaceable(within, "bin", {mine}) == ""
    assert _replaceable(within, "bin", {mine + 1}).startswith(f"{within} belongs to another user")


async def test_a_command_that_was_opened_to_others_meanwhile_is_not_run(command: Path) -> None:
    site = Site(command)
    site.go()
    command.chmod(0o777)  # noqa: ASYNC240
    refused = await site.start()
    assert (refused.state, refused.detail) == (CopyState.REFUSED, untrusted(command))
    assert site.turns == []


# agents that end before the command does


@pytest.fixture
def left(command: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that an agent began on the first slice before it ended."""
    with left_by_an_agent(command, PIECES[0]) as process:
        yield process


@contextmanager
def left_by_an_agent(command: Path, piece: Slice) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([command, "start", "small", f"MIG-old-{piece.start}"], start_new_session=True)
    CopyJournal(command.parent / "journal").begin("start", "GPU-0", piece, "small", process.pid)
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


async def test_the_next_agent_starts_none_beside_it_and_counts_it(command: Path, left: subprocess.Popen[bytes]) -> None:
    site = Site(command, at_once=1)
    await site.copies.adopt()
    await until(lambda: site.turns)
    same, other = site.start(), site.start(PIECES[1])
    await until(lambda: site.copies._turns["GPU-0", PIECES[0]]._waiters and site.copies._slots._waiters)
    assert site.found == []
    site.go()
    assert {(await task).state for task in (same, other)} == {CopyState.DONE}
    assert site.turns[:2] == ["begun MIG-old-0", "ended MIG-old-0"]
    assert left.wait() == 0
    assert not list((site.folder / "journal").iterdir())


async def test_a_clock_that_was_set_meanwhile_changes_nothing(
    command: Path, left: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a process began, in seconds of the clock, is reckoned from when the machine did, which then moves."""
    began = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda of: began(of) + 3)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    site = Site(command)
    await site.copies.adopt()
    assert len(site.copies._watching) == 1
    assert left.poll() is None
    site.go()


async def test_it_keeps_its_deadline(command: Path, left: subprocess.Popen[bytes]) -> None:
    site = Site(command, deadline_s=0.1)
    await site.copies.adopt()
    await asyncio.gather(*site.copies._watching)
    assert left.wait() == -9
    assert not list((site.folder / "journal").iterdir())


async def test_of_more_than_there_are_slots_each_keeps_its_deadline_and_none_starts_until_they_are_few_enough(
    command: Path, left: subprocess.Popen[bytes]
) -> None:
    with left_by_an_agent(command, PIECES[1]) as second:
        site = Site(command, at_once=1, turn_s=0.05)
        await site.copies.adopt()
        left.kill()
        left.wait()
        await until(lambda: len(site.copies._watching) == 1)
        assert (await site.start(PIECES[2])).state is CopyState.WAITING
        second.kill()
        second.wait()
        await until(lambda: not site.copies._watching)
        site.go()
        assert (await site.start(PIECES[2])).state is CopyState.DONE
        assert site.copies._slots._value == 1
    with left_by_an_agent(command, PIECES[0]), left_by_an_agent(command, PIECES[1]):
        (command.parent / "go").unlink()
        site = Site(command, deadline_s=0.1, at_once=1)
        await site.copies.adopt()
        await asyncio.gather(*site.copies._watching)


def test_an_agent_that_is_told_to_stop_ends_it(command: Path, left: subprocess.Popen[bytes]) -> None:
    asyncio.run(Site(command).copies.adopt())
    assert left.wait() == -9
    assert not list((command.parent / "journal").iterdir())


@pytest.mark.parametrize("other", [{"ticks": 1}, {"boot": "of another boot"}], ids=["pid", "boot"])
async def test_another_process_that_has_its_pid_by_now_is_left_alone(
    command: Path, left: subprocess.Popen[bytes], other: dict[str, object]
) -> None:
    (kept,) = (command.parent / "journal").iterdir()
    kept.write_text(json.dumps(json.loads(kept.read_text()) | other))
    site = Site(command, deadline_s=0.0)
    await site.copies.adopt()
    assert not site.copies._watching
    assert left.poll() is None
    assert not kept.exists()


AGENT = """
import asyncio, sys
from pathlib import Path
from controlplane.agent.mig.copies import Copies
from controlplane.domain.mig import Act, Slice

async def find(): return "MIG-0"
copies = Copies(Path(sys.argv[1]), 60, Path(sys.argv[2]))
asyncio.run(copies.run(Act.START, "GPU-0", Slice("1g.10gb", 0), "small", find))
"""


async def test_what_it_says_after_its_agent_was_killed_does_not_end_it_and_is_told(command: Path) -> None:
    """A pipe to the agent would have nobody at its other end."""
    command.write_text(COMMAND.replace('echo "ended', 'echo "out of routing"\necho "ended'))  # noqa: ASYNC240
    folder = command.parent / "journal"
    agent = subprocess.Popen([sys.executable, "-c", AGENT, command, folder])  # noqa: ASYNC220
    site = Site(command)
    await until(lambda: site.turns)
    agent.kill()
    agent.wait()
    with structlog.testing.capture_logs() as logs:
        await site.copies.adopt()
        watching = tuple(site.copies._watching)
        site.go()
        await asyncio.gather(*watching)
    assert len(watching) == 1
    assert site.turns == ["begun MIG-0", "ended MIG-0"]
    assert [line["said"] for line in logs if "has ended" in line["event"]] == ["out of routing"]
    assert not list(folder.iterdir())


async def test_only_the_last_of_what_it_says_is_told(command: Path) -> None:
    command.write_text("#!/bin/sh\nyes | head -c 100000\necho the end >&2\nexit 3\n")  # noqa: ASYNC240
    failed = await Site(command).start()
    assert failed.state is CopyState.FAILED
    assert failed.detail.endswith("y\nthe end")
    assert len(failed.detail) < 2300
    assert not list((command.parent / "journal").iterdir())


def test_a_command_is_not_begun_where_its_agent_ends_before_it_is_written_down(command: Path) -> None:
    (command.parent / "go").touch()
    gate = subprocess.Popen([*_GATE, command, "start", "small", "MIG-0"], stdin=subprocess.PIPE)
    gate.communicate(b"")
    assert gate.returncode != 0
    assert not (command.parent / "turns").exists()


async def test_what_cannot_be_written_down_is_not_begun(command: Path) -> None:
    site = Site(command)
    site.go()
    (site.folder / "journal").write_text("a file in its place")
    refused = await site.start()
    assert refused.state is CopyState.REFUSED
    assert "is not run, since that cannot be kept: " in refused.detail
    assert site.turns == []
