"""What text from elsewhere may do to a terminal: nothing."""

from __future__ import annotations

import pytest

from controlplane.cli.output import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;a title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset \x1b(Bset", "reset set"),
        ("\x1b[31", "31"),
        ("a\x00b\nc", "a b c"),
        ("über [1m] 日本", "über [1m] 日本"),
    ],
)
def test_control_sequences_are_left_out_whole(text: str, shown: str) -> None:
    assert printable(text) == shown
