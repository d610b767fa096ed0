"""Whether an executable may be run with the agent's rights: nobody but its owner may be able to change it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OF_ANOTHER = "{} belongs to another user, who could put another file there: chown it to the owner of the command"


def untrusted(command: Path) -> str:
    """Why the file must not be run; empty: it may.

    In none of the folders on the way to it, through all links, may others put something else in its place.
    """
    try:
        if not (command.is_absolute() and command.is_file() and os.access(command, os.X_OK)):
            return f"{command} is not the absolute path of a file that may be executed"
        file = command.resolve(strict=True)
        status = file.stat()
        if status.st_mode & _OTHERS:
            return f"{file} may be written by others than its owner: chmod go-w {file}"
        owners = {0, os.geteuid(), status.st_uid}
        return next((why for folder, name in _way(command) if (why := _replaceable(folder, name, owners))), "")
    except OSError as error:
        return f"{command}: {error.strerror}"


def _way(path: Path) -> Iterator[tuple[Path, str]]:
    """Every name that is looked up on the way to a file, each with the folder where it is. The path is no loop."""
    here, left = Path("/"), list(reversed(path.parts[1:]))
    while left:
        name = left.pop()
        if name == "..":
            here = here.parent
            continue
        yield here, name
        if (entry := here / name).is_symlink():
            target = entry.readlink()
            here = Path("/") if target.is_absolute() else here
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        else:
            here = entry


def _replaceable(folder: Path, name: str, owners: Collection[int]) -> str:
    """Why others than these could put something else in place of a name; in a sticky folder its owner could."""
    status, entry = folder.stat(), folder / name
    if status.st_mode & _OTHERS and not status.st_mode & stat.S_ISVTX:
        why = "may be written by others than its owner, who could put another file there"
        return f"{folder} {why}: chmod go-w {folder}"
    if status.st_uid not in owners:
        return _OF_ANOTHER.format(folder)
    return _OF_ANOTHER.format(entry) if status.st_mode & _OTHERS and entry.lstat().st_uid not in owners else ""
