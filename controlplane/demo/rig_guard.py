"""Runs one tritonserver and sees to it that nothing of it stays behind. Standard library only; started by the rig.

    python -I -S rig_guard.py PARENT_PID GRACE_S SHM_PREFIX COMMAND...

The server gets a process group of its own, so that a Ctrl-C at the terminal does not reach it before its owner has
decided to stop. The guard ends the server on SIGTERM and when the parent process has gone (also by SIGKILL): SIGTERM
first, SIGKILL to the whole group after GRACE_S seconds. However the server ends, its stub processes are killed and
its shared memory regions removed. The first line of standard output is the server's process id; the guard's exit
status is the server's (128 + the signal's number when a signal ended it).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _die_with_the_guard() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(server: subprocess.Popen[bytes], parent: int, waited_for: set[signal.Signals]) -> None:
    """Returns when the server has ended, a stop was asked for, or the parent has gone."""
    while server.poll() is None and os.getppid() == parent:
        came = signal.sigtimedwait(waited_for, 0.2)
        if came and came.si_signo in {signal.SIGTERM, signal.SIGINT}:
            return


def remove_leftovers(group: int, shm_prefix: str) -> None:
    """Kills what is left of the process group and removes the shared memory regions with this prefix."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for region in Path("/dev/shm").glob(f"{shm_prefix}*"):  # noqa: S108 (where POSIX shared memory stands on Linux)
        region.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Runs the command until it ends, the parent goes, or SIGTERM; gives the server's exit status."""
    parent, grace_s, shm_prefix = int(arguments[0]), float(arguments[1]), arguments[2]
    waited_for = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited_for)
        _die_with_the_guard()

    server = subprocess.Popen(
        arguments[3:],
        stdin=subprocess.DEVNULL,
        stdout=2,
        process_group=0,
        preexec_fn=prepare,  # noqa: PLW1509 (the guard has one thread)
    )
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    try:
        _wait(server, parent, waited_for)
        server.terminate()
        deadline = time.monotonic() + grace_s
        while server.poll() is None and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        status = server.wait()
        remove_leftovers(server.pid, shm_prefix)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
