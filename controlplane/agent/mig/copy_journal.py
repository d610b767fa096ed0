"""Which commands run for copies, in a file for each slice, and what they say, in another beside it.

The next agent finds those that outlive this one; and they can go on saying things, which a pipe to it would end. Of
what is said only the end is kept: the blocks of what was said before are given back to the file system meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from controlplane.domain.mig import Slice

_FILE_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_TOLD = 2048
"""Bytes of what a command said, the last ones, that are told when it ends."""
KEPT_BYTES = 64 * 1024
"""So much of what a command says takes room, the last of it."""
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
"""fallocate(2): the length stays, and who appends writes on where he was."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Begun:
    """A command under way on a slice: the leader of its process group, by its pid, and by when that began.

    That is the boot, and clock ticks since: the clock may be set meanwhile.
    """

    gpu: str
    profile: str
    start: int
    act: str
    model: str
    pid: int
    boot: str
    ticks: int

    @property
    def place(self) -> tuple[str, Slice]:
        """The slice."""
        return self.gpu, Slice(self.profile, self.start)

    @property
    def age_s(self) -> float:
        """Since it began, in seconds."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.ticks / os.sysconf("SC_CLK_TCK")

    def runs(self) -> bool:
        """Whether it is still there, and not another process with its pid."""
        return _ticks(self.pid) == self.ticks and _boot() == self.boot

    def kill(self) -> None:
        """End it, with all that it started and did not detach."""
        if self.runs():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


class CopyJournal:
    """The folder of the files. Raises OSError where nothing can be written there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def output(self, gpu: str, piece: Slice) -> int:
        """A descriptor of a fresh file, to be closed, for what the command of a slice says."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(gpu, piece, "out")
        path.unlink(missing_ok=True)  # what an earlier command left behind may still write there
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def begin(self, act: str, gpu: str, piece: Slice, model: str, pid: int) -> None:
        """Keep that a process runs for a slice, in place of what was kept of it."""
        ticks = _ticks(pid)
        if ticks is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        begun = Begun(gpu, piece.profile, piece.start, act, model, pid, _boot(), ticks)
        path = self._path(gpu, piece, "json")
        fresh = path.with_suffix(".new")
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(asdict(begun)), encoding="utf-8")
        fresh.replace(path)

    def trim(self, gpu: str, piece: Slice) -> None:
        """Let go of what the command of a slice said, but for the last KEPT_BYTES. Never raises."""
        with suppress(OSError), self._path(gpu, piece, "out").open("rb+") as file:
            status = os.fstat(file.fileno())
            if status.st_blocks * 512 > 2 * KEPT_BYTES and status.st_size > KEPT_BYTES:
                _let_go(file.fileno(), status.st_size - KEPT_BYTES)

    def end(self, gpu: str, piece: Slice) -> str:
        """Nothing runs for the slice any more: keep nothing of it. Gives the last of what was said."""
        said, path = b"", self._path(gpu, piece, "out")
        with suppress(OSError), path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TOLD))
            said = file.read(_TOLD)
        for left in (path, self._path(gpu, piece, "json")):
            with suppress(OSError):
                left.unlink()
        return said.decode("utf-8", "replace").strip()

    def running(self) -> Iterator[Begun]:
        """What an earlier process began and did not see the end of; nothing is kept of what has ended meanwhile."""
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError, TypeError):
                begun = Begun(**json.loads(path.read_text(encoding="utf-8")))
                if begun.runs():
                    yield begun
                else:
                    self.end(*begun.place)

    def _path(self, gpu: str, piece: Slice, kind: str) -> Path:
        return self._folder / f"{_FILE_NAME.sub('_', f'{gpu}-{piece.profile}-{piece.start}')}.{kind}"


def _let_go(file: int, before: int) -> None:
    """Free the first bytes of a file; all of it where its file system cannot do that. Raises OSError."""
    try:
        punch = ctypes.CDLL(None, use_errno=True).fallocate
        punch.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        done = punch(file, _PUNCH_HOLE | _KEEP_SIZE, 0, before) == 0
    except AttributeError:
        done = False
    if not done:
        os.ftruncate(file, 0)


def _ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None: it is not there, or has ended (proc_pid_stat(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip()
