"""What is wrong with a dashboard, by rules after grafana/dashboard-linter, and what its queries are made of.

Left out of the original's rules, with the reason: `instance` is asked only of series that come from the serving
processes themselves, since those of the control plane are merged over its replicas, and told apart by labels of theirs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Dashboard = Mapping[str, Any]

OWN_PREFIX = "controlplane_"
UNITS = {"none", "short", "percentunit", "s", "bytes", "reqps", "ops", "eps", "watt", "celsius", "hertz"}
COUNTERS = re.compile(r"_(total|count|sum|bucket)$")
RATED = {"rate", "irate", "increase"}
GRID = 24
NOT_QUERIED = {"row", "text"}

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\d+(?:\.\d+)?(?:e[+-]?\d+|ms|[smhdwy])?|[a-zA-Z_:][\w:]*|[=!]~|[=!<>]=|\S')
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {*_LISTS, "or", "and", "unless", "bool", "offset", "inf", "nan"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


@dataclass(frozen=True)
class Selector:
    """Series in an expression: their name, matchers by label, the range and the function they stand in, if any."""

    name: str
    matchers: Mapping[str, str]
    range: str
    function: str


def filled_in(text: str, values: Mapping[str, str] | None = None) -> str:
    """An expression with values for the variables; those of labels that have none get a pattern for all."""
    known = {"__rate_interval": "1m", "__range": "1h", "__interval": "5s", **(values or {})}
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ".+"), text)


def variables_in(text: str) -> set[str]:
    """Names of the variables in an expression, without Grafana's own."""
    found = {one or other for one, other in _VARIABLE.findall(text)}
    return {name for name in found if not name.startswith("__")}


def selectors(expr: str) -> list[Selector]:
    """The series that an expression reads; variables may stand in it."""
    tokens = _TOKEN.findall(re.sub(r"\[(\$\w+)(?::\$\w+)?\]", r'["\1"]', expr))
    found, at = [], 0
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1 : at + 2]
        if token in _LISTS and following == ["("]:
            at = tokens.index(")", at)
        elif re.match(r"[a-zA-Z_:]", token) and token not in _WORDS and following != ["("] and not _counts(tokens, at):
            function = tokens[at - 2] if at > 1 and tokens[at - 1] == "(" else ""
            matchers, end = _matchers(tokens, at + 1)
            span = ""
            if tokens[end : end + 2] == [")", "["]:  # a subquery: the function stands before what it is of
                function = next((token for token in reversed(tokens[:at]) if token in _functions()), "")
                end += 1
            if tokens[end : end + 1] == ["["]:
                close = tokens.index("]", end)
                span = "".join(tokens[end + 1 : close]).strip('"')
                end = close + 1
            found.append(Selector(token, matchers, span, function if function in _functions() else ""))
            at = end - 1
        at += 1
    return found


def grouped_by(expr: str) -> set[str]:
    """Labels that an expression groups or joins by."""
    lists = re.findall(rf"\b(?:{'|'.join(_LISTS)})\s*\(([^)]*)\)", expr)
    return {label.strip() for inner in lists for label in inner.split(",") if label.strip()}


def queries(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    """Every PromQL expression of a dashboard, with where it stands; of variables the series whose labels they list."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']!r}, query {target['refId']}", target.get("expr", "")
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield f"annotation {annotation['name']!r}", annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']!r}", listed(variable)[0]


def listed(variable: Mapping[str, Any]) -> tuple[str, str]:
    """The series and the label of a variable's query."""
    found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
    return (found[1], found[2]) if found else ("", "")


def faults(dashboard: Dashboard, variables_of: Mapping[str, set[str]]) -> list[str]:
    """What is wrong with it. `variables_of`: the variables of each dashboard that links may lead to, by its uid."""
    found = [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(dashboard)]
    return [*found, *(f"links: {fault}" for fault in links(dashboard, variables_of))]


def wrong_promql(expressions: Mapping[str, str], home: Path) -> str:
    """What promtool says of expressions, all in one call; empty: they are PromQL."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is needed: Debian package prometheus"
    rules = [
        {"record": f"expression:{at}", "expr": filled_in(expr), "labels": {"where": where}}
        for at, (where, expr) in enumerate(expressions.items())
    ]
    file = home / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=none", file], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def data_source(dashboard: Dashboard) -> Iterator[str]:
    own = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    if [(v["name"], v["label"], v["query"]) for v in own] != [("datasource", "Data Source", "prometheus")]:
        yield "exactly one data source variable, named `datasource`, is needed"
    for thing in (*dashboard["panels"], *dashboard["annotations"]["list"], *dashboard["templating"]["list"]):
        name = thing.get("title") or thing.get("name")
        for part in (thing, *thing.get("targets", ())):
            uid = part.get("datasource", {}).get("uid")
            pushed = part.get("target", {}).get("type") == "tags"
            asks = part is not thing or "expr" in part or thing.get("type") == "query" or "targets" in part
            if not pushed and asks and uid != "${datasource}":
                yield f"{name!r} does not ask the data source of the variable"


def variables(dashboard: Dashboard) -> Iterator[str]:
    defined = [v["name"] for v in dashboard["templating"]["list"]]
    if len(set(defined)) != len(defined):
        yield "two variables have one name"
    used = {name for _, expr in queries(dashboard) for name in variables_in(expr)}
    for name in sorted(used - set(defined)):
        yield f"${name} is not defined"
    if "job" not in defined:
        yield "there is no variable `job`"
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        if variable["refresh"] != 2:
            yield f"{variable['name']!r} is not asked again when the time changes"
        if not listed(variable)[0]:
            yield f"{variable['name']!r} is not the values of a label"
        if not (variable["multi"] and variable["includeAll"] and variable["label"]):
            yield f"{variable['name']!r} does not take several values, or has no label"


def targets(dashboard: Dashboard) -> Iterator[str]:
    for panel in _queried(dashboard):
        if not panel.get("targets"):
            yield f"{panel['title']!r} asks nothing"
        references = [target["refId"] for target in panel.get("targets", ())]
        if len(set(references)) != len(references):
            yield f"{panel['title']!r} has two queries of one name"
        for target in panel.get("targets", ()):
            if not target.get("expr", "").strip():
                yield f"{panel['title']!r} has a query without an expression"
            if panel["type"] != "table" and not target.get("legendFormat") and panel["type"] != "stat":
                yield f"{panel['title']!r} has series without names"


def matchers(dashboard: Dashboard) -> Iterator[str]:
    for where, expr in queries(dashboard):
        own_variable = where.split("'")[1] if where.startswith("variable") else ""
        for selector in selectors(expr):
            job = selector.matchers.get("job", "")
            if not variables_in(job) and own_variable not in {"job", "serving_job"}:
                yield f"{where}: {selector.name} of any job"
            instance = selector.matchers.get("instance", "")
            if not (selector.name.startswith(OWN_PREFIX) or where.startswith("variable") or "$instance" in instance):
                yield f"{where}: {selector.name} of any instance"


def rates(dashboard: Dashboard) -> Iterator[str]:
    for where, expr in queries(dashboard):
        if not where.startswith("panel"):
            continue
        for selector in selectors(expr):
            if selector.function in RATED and selector.range not in {"$__rate_interval", "$__range"}:
                yield f"{where}: {selector.function} over {selector.range}, not over $__rate_interval"
            if COUNTERS.search(selector.name) and selector.function not in RATED:
                yield f"{where}: the counter {selector.name} is read as it stands"


def wording(dashboard: Dashboard) -> Iterator[str]:
    if not (dashboard["title"] and dashboard["description"]):
        yield "the dashboard has no title or description"
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"]
    for panel in dashboard["panels"]:
        if not panel.get("title") or (panel["type"] != "row" and not panel.get("description", "").endswith(".")):
            yield f"panel {panel.get('title', panel['id'])!r} has no title, or no description that is a sentence"
    for title in sorted({title for title in titles if titles.count(title) > 1}):
        yield f"two panels are called {title!r}"


def figures(dashboard: Dashboard) -> Iterator[str]:
    for panel in _queried(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        asked = [defaults.get("unit")]
        for override in panel["fieldConfig"]["overrides"]:
            asked += [one["value"] for one in override["properties"] if one["id"] == "unit"]
        for unit in asked:
            if unit not in UNITS and not str(unit).startswith("suffix:"):
                yield f"{panel['title']!r} has the unit {unit!r}"
        if not defaults.get("noValue"):
            yield f"{panel['title']!r} says nothing where there is nothing"
        if not defaults.get("thresholds", {}).get("steps"):
            yield f"{panel['title']!r} has no colour"


def settings(dashboard: Dashboard) -> Iterator[str]:
    expected = {"editable": False, "id": None, "refresh": "30s", "schemaVersion": 39, "tags": ["controlplane"]}
    for key, value in expected.items():
        if dashboard.get(key) != value:
            yield f"{key} is {dashboard.get(key)!r}, not {value!r}"
    if not re.fullmatch(r"cp-[a-z-]+", dashboard.get("uid") or ""):
        yield f"uid {dashboard.get('uid')!r}"


def grid(dashboard: Dashboard) -> Iterator[str]:
    numbers = [panel["id"] for panel in dashboard["panels"]]
    if len(set(numbers)) != len(numbers):
        yield "two panels have one id"
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > GRID or min(place.values()) < 0:
            yield f"{panel['title']!r} is beyond the grid"
        for cell in _cells(place):
            if cell in taken:
                yield f"{panel['title']!r} lies over {taken[cell]!r}"
                break
            taken[cell] = panel["title"]


def links(dashboard: Dashboard, variables_of: Mapping[str, set[str]]) -> Iterator[str]:
    """Drill-downs lead to dashboards that there are, for variables that these have."""
    own = dashboard["links"]
    if not (own and own[0]["type"] == "dashboards" and own[0]["includeVars"] and own[0]["keepTime"]):
        yield "no links to the other dashboards that keep variables and time"
    for panel in _queried(dashboard):
        found = list(panel["fieldConfig"]["defaults"].get("links", ()))
        for override in panel["fieldConfig"]["overrides"]:
            found += [link for one in override["properties"] if one["id"] == "links" for link in one["value"]]
        if not found:
            yield f"{panel['title']!r} leads nowhere"
        grouping = {label for target in panel["targets"] for label in grouped_by(target.get("expr", ""))}
        for link in found:
            uid = link["url"].partition("/d/")[2].partition("?")[0]
            if uid not in variables_of:
                yield f"{panel['title']!r} leads to {uid!r}, which there is not"
                continue
            for name, label in re.findall(r"var-(\w+)=\$\{__\w+\.\w+\.(\w+)\}", link["url"]):
                if name not in variables_of[uid] or label not in grouping:
                    yield f"{panel['title']!r} leads on by {name}, which {uid} or its own series do not have"


RULES: tuple[Callable[[Dashboard], Iterator[str]], ...] = (
    data_source,
    variables,
    targets,
    matchers,
    rates,
    wording,
    figures,
    settings,
    grid,
)


def _queried(dashboard: Dashboard) -> list[Mapping[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] not in NOT_QUERIED]


def _cells(place: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def _matchers(tokens: list[str], at: int) -> tuple[dict[str, str], int]:
    if tokens[at : at + 1] != ["{"]:
        return {}, at
    close = tokens.index("}", at)
    inside = tokens[at + 1 : close]
    return {inside[i]: inside[i + 2].strip('"') for i in range(0, len(inside), 4)}, close + 1


def _counts(tokens: list[str], at: int) -> bool:
    """Whether the word is a function or aggregation that is followed by its grouping: `sum by (...)`."""
    return tokens[at + 1 : at + 2] != [] and tokens[at + 1] in {"by", "without"}


def _functions() -> set[str]:
    return {*RATED, "changes", "resets", "delta", "deriv", "max_over_time", "min_over_time", "avg_over_time"}
