"""What a command for copies says while it runs: how much of it takes room, and that its end is told."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from controlplane.agent.mig.copy_journal import KEPT_BYTES, CopyJournal
from controlplane.domain.mig import Slice

PIECE = Slice("1g.10gb", 0)


@pytest.mark.parametrize("holes", [True, False], ids=["by a hole", "where its file system has none"])
def test_the_end_of_it_is_told_and_what_was_before_takes_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, holes: bool
) -> None:
    if not holes:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    journal = CopyJournal(tmp_path)
    output = journal.output("GPU-0", PIECE)
    (file,) = tmp_path.iterdir()
    for turn in range(3):
        os.write(output, b"x" * 1_000_000 + f"\nturn {turn}\n".encode())
        journal.trim("GPU-0", PIECE)
        assert file.stat().st_blocks * 512 <= 2 * KEPT_BYTES
    os.write(output, b"the last words\n")
    os.close(output)
    said = journal.end("GPU-0", PIECE)
    assert said.endswith("the last words")
    assert ("turn 2" in said) is holes
    assert list(tmp_path.iterdir()) == []


def test_what_is_short_stays_whole_and_where_nothing_runs_nothing_is_done(tmp_path: Path) -> None:
    journal = CopyJournal(tmp_path)
    journal.trim("GPU-0", PIECE)
    output = journal.output("GPU-0", PIECE)
    os.write(output, b"pulling the image\n" * 60)
    os.close(output)
    journal.trim("GPU-0", PIECE)
    assert journal.end("GPU-0", PIECE).count("pulling the image") == 60
