"""No dashboard and no rule asks for what is not there: each is asked of the real Prometheus after the incident."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.publish.dashboards import dashboards
from tests.dashboard_drawing import Drawing, Series, draw
from tests.dashboard_lint import filled_in, listed, queries
from tests.e2e.incident import silent
from tests.e2e.incident.incident import Incident
from tests.e2e.incident.settings import RECOVERS, SCALED

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

STEP_S = 2.0
MADE = dashboards()
RATE_INTERVAL = "30s"
CHOSEN = {"cp-slo": {"model": RECOVERS}, "cp-autoscaler": {"model": SCALED}}
"""What the pictures for docs/img, which go to the folder DASHBOARD_PICTURES, show."""
SILENT = set(chain.from_iterable(silent.QUERIES.values()))


def answers(incident: Incident, expr: str) -> bool:
    """Whether anything comes of it at any time of the incident."""
    return bool(incident.prometheus.points(expr, incident.began_at, incident.ended_at, STEP_S))


def everything(incident: Incident, made: Mapping[str, Any]) -> dict[str, str]:
    """What Grafana puts in for All of each variable, and for its own."""
    values = {"__rate_interval": RATE_INTERVAL, "__range": f"{incident.ended_at - incident.began_at:.0f}s"}
    for variable in made["templating"]["list"]:
        if variable["type"] != "query" or "allValue" in variable:
            values[variable["name"]] = variable.get("allValue", "")
            continue
        series, label = listed(variable)
        found = incident.prometheus.points(filled_in(series, values), incident.began_at, incident.ended_at, STEP_S)
        labels = sorted({re.escape(row["metric"].get(label, "")) for row in found})
        values[variable["name"]] = "|".join(labels).replace("\\", "\\\\")
    return values


def test_every_query_of_every_dashboard_gives_something_or_is_said_to_be_silent(incident: Incident) -> None:
    asked = {
        f"{made['uid']}: {where}": filled_in(expr, everything(incident, made))
        for made in MADE
        for where, expr in queries(made)
    }
    nothing = {where for where, expr in asked.items() if not answers(incident, expr)}
    assert nothing - silent.EITHER == SILENT


def test_every_rule_gives_something_or_is_said_to_be_silent(incident: Incident) -> None:
    nothing = {where for where, expr in rules(incident) if not answers(incident, expr)}
    assert nothing - silent.EITHER == set(chain.from_iterable(silent.RULES.values()))


def rules(incident: Incident) -> Iterator[tuple[str, str]]:
    """Names and expressions of all that `controlplane rules` wrote."""
    for file in ("rules.yml", "alerts.yml"):
        text = (incident.planes["prometheus"].folder / "alerts" / file).read_text(encoding="utf-8")
        for rule in (rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]):
            labels = rule.get("labels", {})
            of = ("model", "objective", "severity") if rule.get("alert") == "ErrorBudgetBurn" else ()
            yield " ".join([rule.get("record") or rule["alert"], *(labels[name] for name in of)]), rule["expr"]


@pytest.mark.parametrize("made", MADE, ids=lambda made: str(made["uid"]))
def test_a_dashboard_is_drawn_with_what_was_there(made: Mapping[str, Any], incident: Incident, tmp_path: Path) -> None:
    """Every panel shows something, but for those all of whose queries are silent."""

    def query(expr: str, start: float, end: float, step: float) -> Sequence[Series]:
        found = incident.prometheus.points(expr, start, end, step)
        return [Series(row["metric"], [(float(at), float(value)) for at, value in row["values"]]) for row in found]

    def drawn(chosen: Mapping[str, str]) -> Drawing:
        values = {**everything(incident, made), **chosen}
        return draw(made, query, incident.began_at, incident.ended_at, STEP_S, values, chosen)

    picture = drawn({})
    picture.save(tmp_path / "drawn.png")
    quiet = {where.split("'")[1] for where in SILENT | silent.EITHER if where.startswith(made["uid"])}
    assert set(picture.empty) <= quiet
    if folder := os.environ.get("DASHBOARD_PICTURES"):
        drawn(CHOSEN.get(made["uid"], {})).save(Path(folder) / f"{made['uid']}.png")
