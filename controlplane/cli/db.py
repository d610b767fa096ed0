"""controlplane db: the database."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import counted, print_json

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


@app.command("drop-ahead")
def drop_ahead(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Drop history that a clock set forward dated ahead of now; only while the control plane is stopped.

    `run` does so by itself for up to two hours: beyond that it may be the clock that is behind.
    """
    from controlplane.config import load_settings
    from controlplane.loop.clock import wall_clock
    from controlplane.store import alone

    url, now = load_settings(config).store_url, wall_clock()
    with alone(url, "controlplane db drop-ahead") as store:
        ahead = store.ahead(now)
        if ahead is not None:
            store.drop_ahead(now)
    if as_json:
        print_json({"slices": 0 if ahead is None else ahead.rows, "until": None if ahead is None else ahead.until})
    elif ahead is None:
        print("nothing to do; no history is dated ahead of now")
    else:
        until = datetime.fromtimestamp(ahead.until, UTC)
        print(f"dropped {counted(ahead.rows, 'slice')} dated up to {until:%Y-%m-%d %H:%M} UTC")
