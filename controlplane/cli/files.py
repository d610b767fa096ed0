"""Files that are made of the configuration or of nothing: read to compare, and written all or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from controlplane.domain.errors import PermanentError

_MODE = 0o644


def text_of(path: Path) -> str | None:
    """What a file holds, None where there is none. Raises PermanentError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise PermanentError(f"{path}: cannot be read: it is not UTF-8") from None
    except OSError as error:
        raise PermanentError(_told(path, "read", error)) from None


def write_all(texts: Mapping[Path, str]) -> None:
    """Write files, each replaced in one step, and none before all of them found room. Raises PermanentError."""
    made: dict[Path, Path] = {}
    path = Path()
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            made[path] = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(handle, _MODE)  # a Prometheus runs as another user
                file.write(text)
                file.flush()
                os.fsync(handle)  # a disk that is full may say so here only
        for path, temporary in made.items():
            temporary.replace(path)
    except OSError as error:
        raise PermanentError(_told(path, "written", error)) from None
    finally:
        _delete(made.values())


def _delete(temporaries: Iterable[Path]) -> None:
    for temporary in temporaries:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _told(path: Path, done: str, error: OSError) -> str:
    folder = path.parent
    file = next((each for each in (folder, *folder.parents) if each.exists() and not each.is_dir()), None)
    if file == folder:
        return f"{folder}: is a file, and a folder is needed"
    if file is not None:
        return f"{folder}: cannot be a folder, since {file} is a file"
    return f"{path}: cannot be {done}: {error.strerror or error}"
