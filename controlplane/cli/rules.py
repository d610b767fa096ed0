"""controlplane rules: what Prometheus and Alertmanager need to know of the configuration."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import complain, print_json
from controlplane.domain.errors import PermanentError

if TYPE_CHECKING:
    from controlplane.config.settings import Settings

_MODE = 0o644


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rules")(rules)


def rules(
    config: Config = DEFAULT_CONFIG,
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")] = Path("alerts"),
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit code 1 where a file there is not as it would be written."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what Prometheus records and alerts on, and whom Alertmanager tells, as the configuration has it."""
    from controlplane.config import load_settings
    from controlplane.config.notes import notes

    settings = load_settings(config)
    texts = {out / name: text for name, text in _texts(settings).items()}
    changed = [path for path, text in texts.items() if _text_of(path) != text]
    if not check:
        for path in changed:
            _write(path, texts[path])
    if as_json:
        named = {"files": list(texts), "differing" if check else "written": changed}
        told = {what: [str(path) for path in paths] for what, paths in named.items()}
        print_json({"ok": not (check and changed), **told, "notes": list(notes(settings))})
    else:
        for path in texts:
            print(f"{path}: {_told(path in changed, check=check)}")
        for note in notes(settings):
            print(f"note: {note}")
    if check and changed:
        if not as_json:
            complain(f"run `controlplane rules --out {out}`: the files there are not those of {config}")
        raise typer.Exit(1)


def _texts(settings: Settings) -> dict[str, str]:
    """Every file by its name."""
    from controlplane.publish import routing
    from controlplane.publish import rules as rules_of

    return {**rules_of.files(settings), **routing.files(settings)}


def _told(changed: bool, *, check: bool) -> str:
    if not changed:
        return "as it should be"
    return "differs" if check else "written"


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path}: cannot be read: {_why(error)}") from None


def _write(path: Path, text: str) -> None:
    """Replace a file in one step, so that nobody ever reads half of it."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, _MODE)  # a Prometheus runs as another user
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise PermanentError(f"{path}: cannot be written: {_why(error)}") from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
