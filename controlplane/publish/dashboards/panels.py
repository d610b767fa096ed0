"""Grafana panels as plain dictionaries, in the classic schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

Panel: TypeAlias = dict[str, Any]
Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on which colour; the first holds from minus infinity."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NO_DATA = "no data"
NO_TRAFFIC = "no traffic"
NOTHING = "none"
GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#8e8e8e"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called. `dashed` and `color` set a line apart from the others."""

    expr: str
    legend: str
    dashed: bool = False
    color: str = ""


@dataclass(frozen=True, slots=True)
class Drill:
    """A link from a series or a row to another dashboard, for the values of these labels."""

    uid: str
    title: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of figures in a table: an instant query, its heading, unit and thresholds."""

    expr: str
    heading: str
    unit: str
    steps: Steps = ()
    decimals: int | None = None


class Look(TypedDict, total=False):
    """What most panels can be told. Width and height in cells of the grid, which is 24 wide."""

    width: int
    height: int
    steps: Steps
    no_value: str
    drills: Sequence[Drill]
    least: float
    most: float
    decimals: int


def rising(warn: float, bad: float) -> Steps:
    """The more the worse."""
    return ((None, GREEN), (warn, YELLOW), (bad, RED))


def falling(bad: float, warn: float) -> Steps:
    """The less the worse."""
    return ((None, RED), (bad, YELLOW), (warn, GREEN))


def budget_left() -> Steps:
    """How a share of an error budget that is unspent is coloured: red where all is spent, yellow below a quarter."""
    return falling(0, 0.25)


def any_is(color: str = RED) -> Steps:
    """Coloured from 1 on."""
    return ((None, GREEN), (1, color))


def timeseries(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    stacked: bool = False,
    bars: bool = False,
    **look: Unpack[Look],
) -> Panel:
    """Lines over time (or bars); a threshold is a dashed line. A gap is a gap: missing is not drawn as zero."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 25 if stacked else 8,
        "lineWidth": 0 if bars else 2,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if look.get("steps") else "off"},
    }
    panel = _panel("timeseries", title, description, queries, unit, look, custom=custom)
    panel["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    panel["fieldConfig"]["overrides"] = [
        _styled(target["refId"], query)
        for target, query in zip(panel["targets"], queries, strict=True)
        if query.dashed or query.color
    ]
    panel["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel


def stat(title: str, description: str, query: Query, unit: str, **look: Unpack[Look]) -> Panel:
    """One figure of now, coloured by its thresholds."""
    panel = _panel("stat", title, description, [query], unit, {"width": 4, "height": 4, **look}, instant=True)
    panel["options"] = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return panel


def bargauge(title: str, description: str, queries: Sequence[Query], unit: str, **look: Unpack[Look]) -> Panel:
    """Bars of now, one a series."""
    panel = _panel("bargauge", title, description, queries, unit, look, instant=True)
    panel["options"] = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
    }
    return panel


def state_timeline(
    title: str,
    description: str,
    queries: Sequence[Query],
    states: Mapping[int, tuple[str, str]],
    **look: Unpack[Look],
) -> Panel:
    """A row a series, coloured by its value: what each value means, and its colour."""
    custom = {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False}
    panel = _panel("state-timeline", title, description, queries, "none", look, custom=custom)
    panel["fieldConfig"]["defaults"]["mappings"] = [mapping(states)]
    panel["options"] = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel


def heatmap(title: str, description: str, query: Query, unit: str, **look: Unpack[Look]) -> Panel:
    """Counts by bucket (upper edge `le`) over time."""
    panel = _panel("heatmap", title, description, [query], unit, look)
    panel["targets"][0]["format"] = "heatmap"
    panel["options"] = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "unit": unit},
    }
    return panel


def table(
    title: str,
    description: str,
    columns: Sequence[Column],
    labels: Sequence[str],
    *,
    hide_values: bool = False,
    mappings: Mapping[str, Mapping[int, tuple[str, str]]] | None = None,
    **look: Unpack[Look],
) -> Panel:
    """A row for each set of labels, a column for each query. Links stand on the labels that they carry.

    `hide_values`: the labels say it all. `mappings`: by heading, what values mean.
    """
    queries = [Query(column.expr, column.heading) for column in columns]
    panel = _panel("table", title, description, queries, "none", look, instant=True, links_on="data")
    for target in panel["targets"]:
        target["format"] = "table"
    # Grafana calls the only column of figures Value, several ones by their query
    called = ["Value"] if len(columns) == 1 else [f"Value #{target['refId']}" for target in panel["targets"]]
    renamed = {name: column.heading for name, column in zip(called, columns, strict=True)}
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True} | (dict.fromkeys(called, True) if hide_values else {}),
                "indexByName": {name: at for at, name in enumerate((*labels, *called))},
                "renameByName": renamed,
            },
        },
    ]
    defaults = panel["fieldConfig"]["defaults"]
    links = defaults.pop("links", [])
    overrides = [] if hide_values else [_column(column, (mappings or {}).get(column.heading)) for column in columns]
    if links:
        overrides.append(_override("byName", labels[0], {"links": links}))
    panel["fieldConfig"]["overrides"] = overrides
    panel["options"] = {"cellHeight": "sm", "showHeader": True, "footer": {"show": False}}
    return panel


def text(title: str, description: str, content: str, *, width: int = 24, height: int = 3) -> Panel:
    """Markdown."""
    return {
        "type": "text",
        "title": title,
        "description": description,
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "options": {"mode": "markdown", "content": content},
    }


def mapping(states: Mapping[int, tuple[str, str]]) -> dict[str, Any]:
    """What values are called, and their colours."""
    options = {
        str(value): {"text": said, "color": color, "index": at}
        for at, (value, (said, color)) in enumerate(states.items())
    }
    return {"type": "value", "options": options}


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    look: Look,
    *,
    custom: dict[str, Any] | None = None,
    instant: bool = False,
    links_on: Literal["field", "data"] = "field",
) -> Panel:
    defaults: dict[str, Any] = {
        "color": {"mode": "thresholds"},
        "custom": custom or {},
        "mappings": [],
        "noValue": look.get("no_value", NO_DATA),
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in look.get("steps") or ((None, GREEN),)],
        },
        "unit": unit,
    }
    for key, name in (("min", "least"), ("max", "most"), ("decimals", "decimals")):
        if name in look:
            defaults[key] = look[name]  # type: ignore[literal-required]  # the names stand one line above
    if drills := look.get("drills"):
        defaults["links"] = [_link(drill, links_on) for drill in drills]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"h": look.get("height", 8), "w": look.get("width", 12), "x": 0, "y": 0},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": instant,
                "range": not instant,
            }
            for at, query in enumerate(queries)
        ],
    }


def _link(drill: Drill, of: Literal["field", "data"]) -> dict[str, Any]:
    where = "__field.labels" if of == "field" else "__data.fields"
    values = "".join(f"&var-{label}=${{{where}.{label}}}" for label in drill.labels)
    # without labels all variables go along, with some only the data source: the others may not hold over there
    carried = f"${{datasource:queryparam}}{values}" if drill.labels else "${__all_variables}"
    return {"title": drill.title, "url": f"/d/{drill.uid}?${{__url_time_range}}&{carried}", "targetBlank": False}


def _styled(ref_id: str, query: Query) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if query.dashed:
        properties |= {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom.fillOpacity": 0}
    if query.color:
        properties["color"] = {"mode": "fixed", "fixedColor": query.color}
    return _override("byFrameRefID", ref_id, properties)


def _column(column: Column, states: Mapping[int, tuple[str, str]] | None) -> dict[str, Any]:
    properties: dict[str, Any] = {"unit": column.unit}
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.steps:
        properties["thresholds"] = {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in column.steps],
        }
    if states:
        properties["mappings"] = [mapping(states)]
    if states or column.steps:
        properties["custom.cellOptions"] = {"type": "color-text"}
    return _override("byName", column.heading, properties)


def _override(matcher: str, of: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "matcher": {"id": matcher, "options": of},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }
