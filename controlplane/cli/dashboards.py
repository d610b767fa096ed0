"""controlplane dashboards: files for Grafana."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.options import Json
from controlplane.cli.output import counted, print_json
from controlplane.domain.errors import ControlPlaneError

app = typer.Typer(help="Dashboards for Grafana.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Dashboards for Grafana."""


@app.command("build")
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder to write them to.")] = Path("dashboards"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a file is not what would be written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the dashboards as files for Grafana's file provisioning or import."""
    from controlplane.publish.dashboards import files

    made = files()
    try:
        differ = [name for name, content in made.items() if _content(out / name) != content]
        if not check:
            out.mkdir(parents=True, exist_ok=True)
            for name in differ:
                (out / name).write_text(made[name], encoding="utf-8")
    except OSError as error:
        raise ControlPlaneError(f"{out}: {error.strerror or error}") from None
    if as_json:
        print_json({"folder": str(out), "files": sorted(made), "different": differ, "written": not check})
    elif not check:
        print(f"{counted(len(made), 'dashboard')} in {out}, {counted(len(differ), 'file')} written")
    elif not differ:
        print(f"{counted(len(made), 'dashboard')} in {out} up to date")
    if check and differ:
        raise ControlPlaneError(f"{out}: not up to date: {', '.join(differ)}; run controlplane dashboards build")


def _content(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None
