"""controlplane rules: what Prometheus and Alertmanager need to know of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.files import text_of, write_all
from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import complain, print_json

if TYPE_CHECKING:
    from controlplane.config.settings import Settings


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
    found = {path: text_of(path) for path in texts}
    changed = [path for path, text in texts.items() if found[path] != text]
    if not check:
        write_all({path: texts[path] for path in changed})
    if as_json:
        named = {"files": list(texts), "differing" if check else "written": changed}
        told = {what: [str(path) for path in paths] for what, paths in named.items()}
        print_json({"ok": not (check and changed), **told, "notes": list(notes(settings))})
    else:
        for path in texts:
            print(f"{path}: {_told(path in changed, missing=found[path] is None, check=check)}")
        for note in notes(settings):
            print(f"note: {note}")
    if check and changed:
        if not as_json:
            complain(f"run `controlplane rules --out {out}`: the files there are not those of {config}")
        raise typer.Exit(1)


def _texts(settings: Settings) -> dict[str, str]:
    """Every file by its name."""
    from controlplane.publish.alerting import routing
    from controlplane.publish.alerting import rules as rules_of

    return {**rules_of.files(settings), **routing.files(settings)}


def _told(changed: bool, *, missing: bool, check: bool) -> str:
    if not changed:
        return "as it should be"
    if not check:
        return "written"
    return "is missing" if missing else "differs"
