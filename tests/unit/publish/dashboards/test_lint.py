"""Each rule of the linter finds a dashboard that breaks it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import names
from controlplane.publish.dashboards.builder import Row, dashboard
from controlplane.publish.dashboards.drills import MODEL_SLO
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.panels import Column, Query, table, timeseries
from controlplane.publish.dashboards.queries import Own, total
from controlplane.publish.dashboards.variables import MODEL, PLANE
from tests.dashboard_lint import Selector, faults, filled_in, grouped_by, selectors, wrong_promql

OWN = Own(names.MODEL)
UIDS = {"cp-small": {"datasource", "job", "model"}, "cp-slo": {"datasource", "job", "model"}}
_WAITING = total(OWN.now(names.MODEL_PENDING), names.MODEL)
SMALL = dashboard(
    "cp-small",
    "Small",
    "Two panels.",
    [PLANE, MODEL],
    [
        Row(
            "All",
            [
                timeseries("Waiting", "Requests.", [Query(_WAITING, "{{model}}")], "none", drills=[MODEL_SLO]),
                table("Now", "Requests.", [Column(_WAITING, "Waiting", "none")], ["model"], drills=[MODEL_SLO]),
            ],
        )
    ],
    marks(by_model=True),
)

Broken = Callable[[dict[str, Any]], None]


def panel(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["panels"][1]
    return found


def ask(expr: str) -> Broken:
    def broken(made: dict[str, Any]) -> None:
        panel(made)["targets"][0]["expr"] = expr

    return broken


def change(*path: str | int, to: object) -> Broken:
    def broken(made: dict[str, Any]) -> None:
        inner: Any = made
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return broken


FIRST = ("panels", 1)
DEFAULTS = (*FIRST, "fieldConfig", "defaults")

CASES: dict[str, tuple[Broken, str]] = {
    "no data source": (lambda made: made["templating"]["list"].pop(0), "data_source: exactly one"),
    "a data source of its own": (
        change(*FIRST, "datasource", to={"uid": "abc"}),
        "'Waiting' does not ask the data source",
    ),
    "a query that asks elsewhere": (
        change(*FIRST, "targets", 0, "datasource", to={"uid": "abc"}),
        "'Waiting' does not ask the data source",
    ),
    "a variable that asks elsewhere": (
        change("templating", "list", 1, "datasource", to={"uid": "abc"}),
        "'job' does not ask the data source",
    ),
    "a mark that asks elsewhere": (
        change("annotations", "list", 1, "datasource", to={"uid": "abc"}),
        "'Desired instances changed' does not ask the data source",
    ),
    "a variable that is not defined": (ask('x{job=~"$job", region="$region"}'), "variables: $region is not defined"),
    "a variable twice": (lambda made: made["templating"]["list"].append(MODEL), "variables: two variables"),
    "no job": (lambda made: made["templating"]["list"].pop(1), "variables: there is no variable `job`"),
    "a variable of the start": (change("templating", "list", 2, "refresh", to=1), "'model' is not asked again"),
    "a variable of a query": (
        change("templating", "list", 2, "query", to={"query": "query_result(up)"}),
        "'model' is not the values of a label",
    ),
    "a variable of one value": (change("templating", "list", 2, "multi", to=False), "'model' does not take several"),
    "no queries": (change(*FIRST, "targets", to=[]), "targets: 'Waiting' asks nothing"),
    "an empty query": (ask(" "), "targets: 'Waiting' has a query without an expression"),
    "two queries of one name": (
        lambda made: panel(made)["targets"].append(panel(made)["targets"][0]),
        "targets: 'Waiting' has two queries of one name",
    ),
    "a series without a name": (change(*FIRST, "targets", 0, "legendFormat", to=""), "'Waiting' has series without"),
    "any job": (ask("controlplane_model_loaded"), "controlplane_model_loaded of any job"),
    "any instance of a server": (ask('vllm:x{job=~"$job"}'), "vllm:x of any instance"),
    "a fixed interval": (ask('rate(controlplane_x_total{job=~"$job"}[5m])'), "rate over 5m, not over"),
    "a counter as it stands": (ask('controlplane_x_total{job=~"$job"}'), "the counter controlplane_x_total is read as"),
    "a counter's largest": (
        ask('max(controlplane_x_total{job=~"$job"})'),
        "the counter controlplane_x_total is read as",
    ),
    "no title": (change(*FIRST, "title", to=""), "wording: panel '' has no title"),
    "no description": (
        change(*FIRST, "description", to=""),
        "wording: panel 'Waiting' has no title, or no description",
    ),
    "a dashboard without a description": (change("description", to=""), "wording: the dashboard has no"),
    "two titles alike": (change(*FIRST, "title", to="Now"), "wording: two panels are called 'Now'"),
    "no unit": (change(*DEFAULTS, "unit", to=""), "figures: 'Waiting' has the unit ''"),
    "a unit that is none": (change(*DEFAULTS, "unit", to="seconds"), "figures: 'Waiting' has the unit 'seconds'"),
    "a column without a unit": (
        change("panels", 2, "fieldConfig", "overrides", 0, "properties", 0, "value", to=""),
        "figures: 'Now' has the unit ''",
    ),
    "nothing said without data": (change(*DEFAULTS, "noValue", to=""), "figures: 'Waiting' says nothing"),
    "no thresholds": (change(*DEFAULTS, "thresholds", to={}), "figures: 'Waiting' has no colour"),
    "editable": (change("editable", to=True), "settings: editable is True"),
    "an id": (change("id", to=7), "settings: id is 7"),
    "no refresh": (change("refresh", to=""), "settings: refresh is ''"),
    "an old schema": (change("schemaVersion", to=22), "settings: schemaVersion is 22"),
    "no tag": (change("tags", to=[]), "settings: tags is []"),
    "no uid": (change("uid", to=None), "settings: uid None"),
    "two ids alike": (change("panels", 2, "id", to=2), "grid: two panels have one id"),
    "beyond the grid": (change(*FIRST, "gridPos", "x", to=13), "grid: 'Waiting' is beyond the grid"),
    "one over the other": (change("panels", 2, "gridPos", "x", to=11), "grid: 'Now' lies over 'Waiting'"),
    "no links": (change("links", to=[]), "links: no links to the other dashboards"),
    "links that forget the time": (change("links", 0, "keepTime", to=False), "links: no links to the other dashboards"),
    "a dead end": (change(*DEFAULTS, "links", to=[]), "links: 'Waiting' leads nowhere"),
    "a link to nowhere": (
        change(*DEFAULTS, "links", 0, "url", to="/d/cp-old?x=1"),
        "leads to 'cp-old', which there is not",
    ),
    "a link by a variable of nobody": (
        change(*DEFAULTS, "links", 0, "url", to="/d/cp-slo?var-pod=${__field.labels.model}"),
        "leads on by pod",
    ),
    "a link by a label that is not there": (
        change(*DEFAULTS, "links", 0, "url", to="/d/cp-slo?var-model=${__field.labels.name}"),
        "leads on by model",
    ),
}


def test_nothing_is_wrong_with_what_breaks_no_rule() -> None:
    assert faults(SMALL, UIDS) == []


@pytest.mark.parametrize(("broken", "fault"), CASES.values(), ids=CASES.keys())
def test_what_breaks_a_rule_is_found(broken: Broken, fault: str) -> None:
    made = copy.deepcopy(SMALL)
    broken(made)
    assert [told for told in faults(made, UIDS) if fault in told], faults(made, UIDS)


def test_an_expression_that_is_no_promql_is_found(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    said = wrong_promql({"one": "sum by (model (up)", "two": "up"}, tmp_path)
    assert "expression:0" in said
    assert "expression:1" not in said


def test_the_series_of_an_expression_are_read() -> None:
    expr = """histogram_quantile(0.9, sum by (le, a) (rate(x_bucket{job=~"$job", b!="}"}[$__rate_interval])))
        / on (a) group_left (c) (y offset 5m > bool 0) unless ignoring (d) max_over_time(z[1h] offset 1d)"""
    assert selectors(expr) == [
        Selector("x_bucket", {"job": "$job", "b": "}"}, "$__rate_interval", "rate"),
        Selector("y", {}, "", ""),
        Selector("z", {}, "1h", "max_over_time"),
    ]
    assert grouped_by(expr) == {"le", "a", "c", "d"}


def test_variables_are_filled_in() -> None:
    assert filled_in('x{a=~"$a|", b="${b:regex}"}[$__rate_interval]', {"a": "one"}) == 'x{a=~"one|", b=".+"}[1m]'
