"""controlplane dashboards push: the dashboards into a Grafana."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import print_json, printable
from controlplane.domain.errors import ConfigurationError, Fault, PermanentError

if TYPE_CHECKING:
    from controlplane.domain.routing import GrafanaSettings
    from controlplane.publish.grafana.client import Grafana


def register(app: typer.Typer) -> None:
    """Add the command to the group `dashboards`."""
    app.command("push")(push_dashboards)


def push_dashboards(
    config: Config = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the folder, the data source and the dashboards into the Grafana of the configuration.

    What is there already is not written again; dashboards of an older version of the product are deleted from the
    folder, others are never touched.
    """
    from controlplane.config import load_settings
    from controlplane.publish.dashboards import dashboards

    settings = load_settings(config).grafana
    if settings is None:
        fault = Fault("grafana", "nothing", "a block with url, token_file and prometheus_url is needed here")
        raise ConfigurationError(str(config), (fault,))
    grafana = _open(settings)
    from controlplane.publish.grafana.push import Did, push

    refused, told = False, []
    try:
        version = grafana.version()
        if not as_json:
            print(printable(f"Grafana {version} at {settings.url}{', dry run' if dry_run else ''}"))
        made = {str(dashboard["uid"]): dashboard for dashboard in dashboards()}
        for change in push(grafana, settings, made, dry_run=dry_run):
            refused = refused or change.did is Did.REFUSED
            told.append({"kind": change.kind, "uid": change.uid, "did": change.did.value, "note": change.note})
            if not as_json:
                note = f": {change.note}" if change.note else ""
                print(printable(f"{change.kind} {change.uid}: {change.did.value}{note}"))
    finally:
        grafana.close()
    if as_json:
        print_json({"ok": not refused, "grafana": version, "dry_run": dry_run, "changes": told})
    if refused:
        raise typer.Exit(1)


def _open(settings: GrafanaSettings) -> Grafana:
    """The Grafana of the settings. Raises PermanentError where its client is not installed."""
    from controlplane.collect.token_file import read_token

    try:
        from controlplane.publish.grafana.client import Grafana
    except ModuleNotFoundError as error:
        raise PermanentError(f"the extra [grafana] is not installed: {error.name} is missing") from None
    return Grafana(settings, read_token)
