"""What text from elsewhere may do to a terminal, and libraries to standard output: nothing."""

from __future__ import annotations

import ctypes
import os

import pytest

from controlplane.cli.output import libraries_on_stderr, printable


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


def test_what_libraries_in_c_print_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with libraries_on_stderr():
        ctypes.CDLL(None).printf(b"buffered\n")
        os.write(1, b"at once\n")
    os.write(1, b"ours\n")
    told = capfd.readouterr()
    assert told.out == "ours\n"
    assert sorted(told.err.splitlines()) == ["at once", "buffered"]
