"""Nothing that a dashboard or a rule asks for has another name than what is exported."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.publish.dashboards import dashboards
from tests.dashboard_lint import grouped_by, queries, selectors
from tests.unit.publish.dashboards.exported import counters, exported

ROOT = Path(__file__).parents[4]
EXPORTED = exported()
COUNTERS = counters()
DASHBOARDS = dashboards()
RULES = sorted((ROOT / "alerts").glob("*s.yml"))
_GROWING = {"rate", "increase", "irate", "changes", "resets"}


def unknown(expr: str, known: Mapping[str, set[str]], shown: str = "") -> list[str]:
    """Names of series, and labels of them, that are nowhere exported; `shown`: labels in a text beside it."""
    found, labels = [], set[str]()
    for selector in selectors(expr):
        if selector.name not in known:
            found.append(f"no series {selector.name}")
            continue
        labels |= known[selector.name]
        found += [
            f"{selector.name} has no label {label}" for label in selector.matchers if label not in known[selector.name]
        ]
    asked = grouped_by(expr) | set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", shown))
    return [*found, *(f"no series of it has the label {label}" for label in sorted(asked - labels))]


def shown_of(made: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Where, expression and the text that shows its labels."""
    legends = {
        f"panel {panel['title']!r}, query {target['refId']}": target["legendFormat"] if panel["type"] != "table" else ""
        for panel in made["panels"]
        for target in panel.get("targets", ())
    }
    titles = {f"annotation {a['name']!r}": a.get("titleFormat", "") for a in made["annotations"]["list"]}
    for where, expr in queries(made):
        yield where, expr, (legends | titles).get(where, "")


@pytest.mark.parametrize("made", DASHBOARDS, ids=lambda made: str(made["uid"]))
def test_a_dashboard_asks_only_for_what_is_exported(made: Mapping[str, Any]) -> None:
    assert [
        f"{where}: {fault}" for where, expr, shown in shown_of(made) for fault in unknown(expr, EXPORTED, shown)
    ] == []


@pytest.mark.parametrize("made", DASHBOARDS, ids=lambda made: str(made["uid"]))
def test_counters_of_servers_are_read_by_how_they_grow(made: Mapping[str, Any]) -> None:
    for where, expr in queries(made):
        for selector in selectors(expr) if not where.startswith("variable") else ():
            assert selector.name not in COUNTERS or selector.function in _GROWING, where


@functools.cache
def rules() -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return tuple(
        (f"{file.name}, {rule.get('record', rule.get('alert'))}", rule)
        for file in RULES
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    )


def known_to_rules() -> dict[str, set[str]]:
    """What is exported, and what rules record of it."""
    known = {name: set(labels) for name, labels in EXPORTED.items()}
    # alerts keep the labels that their rules give them
    known["ALERTS"] |= {label for _, rule in rules() for label in rule.get("labels", {})}
    for _, rule in rules():
        if "record" in rule:
            labels = {label for selector in selectors(rule["expr"]) for label in known.get(selector.name, ())}
            known[rule["record"]] = labels | set(rule.get("labels", {}))
    return known


def test_rules_ask_only_for_what_is_exported_or_recorded() -> None:
    known, found = known_to_rules(), []
    for where, rule in rules():
        texts = " ".join(rule.get("annotations", {}).values())
        asked = [
            rule["expr"],
            *(inner.replace('\\"', '"') for inner in re.findall(r'query "((?:\\.|[^"\\])*)"', texts)),
        ]
        found += [f"{where}: {fault}" for expr in asked for fault in unknown(expr, known)]
        given = {label for expr in asked for selector in selectors(expr) for label in known.get(selector.name, ())}
        labels = set(re.findall(r"\$labels\.(\w+)", texts)) - given - set(rule.get("labels", {})) - {"alertname"}
        found += [f"{where}: its text shows {label}, which it does not have" for label in sorted(labels)]
    assert found == []


def test_alerts_lead_to_dashboards_that_there_are_by_variables_of_theirs() -> None:
    uids = {made["uid"] for made in DASHBOARDS}
    # a dashboard ignores a variable of others: alerts of a server carry its model wherever they lead
    variables = {variable["name"] for made in DASHBOARDS for variable in made["templating"]["list"]}
    urls = {where: rule.get("annotations", {}).get("dashboard_url", "") for where, rule in rules()}
    assert len([url for url in urls.values() if url]) > 10
    for where, url in urls.items():
        if url:
            assert url.partition("/d/")[2].partition("?")[0] in uids, where
            assert set(re.findall(r"[?&]var-(\w+)=", url)) <= variables, where


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("sum by (model) (rate(vllm:num_preemptions[5m]))", "no series vllm:num_preemptions"),
        ('max(vllm:gpu_cache_usage_perc{model_name="x"})', "no series vllm:gpu_cache_usage_perc"),
        ('controlplane_server_live{model="x"}', "controlplane_server_live has no label model"),
        ("max by (model) (controlplane_server_live)", "no series of it has the label model"),
    ],
)
def test_a_name_that_nobody_exports_is_found(expr: str, fault: str) -> None:
    assert fault in unknown(expr, EXPORTED)


def test_a_legend_of_a_label_that_is_not_there_is_found() -> None:
    assert unknown("controlplane_server_live", EXPORTED, "{{gpu}}") == ["no series of it has the label gpu"]
