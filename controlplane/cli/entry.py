"""What the command `controlplane` runs: as little as possible before Ctrl-C is understood."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C while Python still imports ends the process at once: nothing is begun yet."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _fill_standard_streams()
    from controlplane.cli.main import execute

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(execute(sys.argv[1:]))


def _fill_standard_streams() -> None:
    """Take what the caller has closed for /dev/null: Python has None there, and the next open file its descriptor."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
