"""controlplane dashboards: files for Grafana."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.files import text_of, write_all
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
    found = {name: text_of(out / name) for name in made}
    differ = [name for name, content in made.items() if found[name] != content]
    if not check:
        write_all({out / name: made[name] for name in differ})
    if as_json:
        print_json({"folder": str(out), "files": sorted(made), "different": differ, "written": not check})
    elif not check:
        print(f"{counted(len(made), 'dashboard')} in {out}, {counted(len(differ), 'file')} written")
    elif not differ:
        print(f"{counted(len(made), 'dashboard')} in {out} up to date")
    if check and differ:
        raise ControlPlaneError(f"{out}: not up to date: {', '.join(differ)}; run controlplane dashboards build")
