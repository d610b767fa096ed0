"""The text of a file that a person names: no more of it than such a file can hold."""

from __future__ import annotations

import stat
from pathlib import Path

_LARGEST_BYTES = 4 * 2**20


class UnreadableError(ValueError):
    """A file cannot be read: `value` is what it is, `allowed` what it should be; its text says both in a sentence."""

    def __init__(self, value: str, allowed: str, sentence: str) -> None:
        super().__init__(sentence)
        self.value = value
        self.allowed = allowed


def read_text_file(path: str | Path) -> str:
    """The text of a file or a pipe, UTF-8, at most 4 MiB. Raises UnreadableError."""
    try:
        with Path(path).open("rb") as file:
            mode = Path(path).stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty()):
                raise UnreadableError("a device", "a file or a pipe", "is a device, and a file or a pipe is needed")
            found = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        why = error.strerror or "unreadable"
        raise UnreadableError(why, "a readable file", f"cannot be read: {why}") from None
    if len(found) > _LARGEST_BYTES:
        most = f"{_LARGEST_BYTES // 2**20} MiB"
        raise UnreadableError("its size", f"at most {most}", f"is larger than {most}")
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("its encoding", "UTF-8", "is not UTF-8 text") from None
