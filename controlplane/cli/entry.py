"""What the command `controlplane` runs: as little as possible before Ctrl-C is understood."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C while Python still imports ends the process at once: nothing is begun yet."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from controlplane.cli.main import execute

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(execute(sys.argv[1:]))
