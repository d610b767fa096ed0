"""What goes to standard output and standard error."""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from controlplane.domain.errors import ConfigurationError

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
"""Control sequences, strings of the operating system and the like, and what else an escape begins (ECMA-48)."""


def print_json(document: Any) -> None:
    """One JSON document."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def libraries_on_stderr() -> Iterator[None]:
    """What libraries in C print meanwhile goes to standard error, so that standard output holds nothing but ours.

    They write to the descriptor, some of it only when the process ends: it is made to come out here.
    """
    try:
        stdout = os.dup(1)
    except OSError:  # there is none
        yield
        return
    sys.stdout.flush()
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(stdout, 1)
        os.close(stdout)


def complain(error: Exception | str) -> None:
    """One clear line on standard error; a configuration with several faults takes one line each."""
    text = "\n".join(printable(line) for line in str(error).splitlines())
    if isinstance(error, ConfigurationError) and len(error.faults) == 1:
        text = printable(f"{error.source}: {error.faults[0]}")
    print(f"controlplane: {text}", file=sys.stderr)


def printable(text: str) -> str:
    """Text from elsewhere without what would steer the terminal, sequences of ANSI as a whole."""
    return "".join(c if c.isprintable() else " " for c in _ANSI.sub("", text))


def clock_time(at: float) -> str:
    """A moment in UTC, for people: the same as in the log and in `explain`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int, thing: str) -> str:
    """How many of a thing: 1 freeze, 2 freezes."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """A duration in its two largest units, for people; the smaller one only where it is not 0.

    Nothing was less than no time ago: what a clock that was set back says is 0.
    """
    seconds = max(0.0, seconds)
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        large, small = f"{whole // 60} min", (whole % 60, "s")
    elif whole < 86400:
        large, small = f"{whole // 3600} h", (whole % 3600 // 60, "min")
    else:
        large, small = f"{whole // 86400} d", (whole % 86400 // 3600, "h")
    return f"{large} {small[0]} {small[1]}" if small[0] else large
