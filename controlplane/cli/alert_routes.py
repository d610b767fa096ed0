"""Which alerts go to whom, as a configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from controlplane.cli.tables import escape, new_table
from controlplane.domain.alerts import Severity

if TYPE_CHECKING:
    from controlplane.config.settings import Settings
    from controlplane.domain.routing import Receiver


def routes(settings: Settings) -> list[dict[str, Any]]:
    """For each team its models and where each severity of their alerts goes."""
    found = []
    for team in settings.alerts.teams:
        escalates = team.name == settings.alerts.escalation
        models = [
            model.name for model in settings.fleet.models if (model.team or settings.alerts.escalation) == team.name
        ]
        told = {severity.value: [_place(receiver) for receiver in team.told(severity)] for severity in Severity}
        found.append({"team": team.name, "models": models, "all_else": escalates, **told})
    return found


def _place(receiver: Receiver) -> str:
    return f"{receiver.kind.value} {receiver.to}".strip()


def routes_table(teams: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The same for people."""
    table = new_table("alerts", "team", "told of", *(severity.value for severity in Severity))
    for team in teams:
        told_of = [*team["models"], *(["all else"] if team["all_else"] else [])]
        cells = (told_of, *(team[severity.value] for severity in Severity))
        table.add_row(escape(team["team"]), *(escape(", ".join(cell)) or "nothing" for cell in cells))
    return table
