"""controlplane db: the database."""

from __future__ import annotations

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import print_json

app = typer.Typer(help="The database.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """The database."""


@app.command("upgrade")
def upgrade(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Bring the database to the schema of this version; `run` does so by itself."""
    from controlplane.config import load_settings
    from controlplane.store import schema_revision, upgrade_schema

    url = load_settings(config).store_url
    before = schema_revision(url)
    after = upgrade_schema(url)
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        print(f"nothing to do; the schema is at {after}")
    else:
        print(f"the schema went from {before or 'nothing'} to {after}")
