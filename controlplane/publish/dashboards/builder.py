"""A dashboard as a plain dictionary: panels in rows on a grid, variables, links, annotations.

Classic schema (version 39): Grafana 10.4 to 13 provision and import it, while files in the newer one are refused
(grafana/grafana issues 126641 and 127928).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from controlplane.publish.dashboards.panels import Panel
from controlplane.publish.dashboards.variables import DATA_SOURCE, Variable

Dashboard: TypeAlias = dict[str, Any]

TAG = "controlplane"
SCHEMA_VERSION = 39
GRID = 24


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, laid out from left to right and down."""

    title: str
    panels: Sequence[Panel]


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    rows: Sequence[Row],
    annotations: Sequence[dict[str, Any]],
    since: str = "now-3h",
) -> Dashboard:
    """The dashboard, with a data source variable before the others and links to all dashboards of the product."""
    return {
        "annotations": {"list": list(annotations)},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [
            {
                "asDropdown": True,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "tags": [TAG],
                "targetBlank": False,
                "title": "Dashboards",
                "type": "dashboards",
            }
        ],
        "panels": list(_laid_out(rows)),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": [TAG],
        "templating": {"list": [DATA_SOURCE, *variables]},
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    }


def as_text(made: Dashboard) -> str:
    """The file of a dashboard."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _laid_out(rows: Sequence[Row]) -> Iterator[Panel]:
    number, y = 1, 0
    for row in rows:
        yield {
            "type": "row",
            "id": number,
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"h": 1, "w": GRID, "x": 0, "y": y},
        }
        number, y = number + 1, y + 1
        x = line = 0
        for panel in row.panels:
            width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
            if x + width > GRID:
                x, y, line = 0, y + line, 0
            yield panel | {"id": number, "gridPos": {"h": height, "w": width, "x": x, "y": y}}
            number, x, line = number + 1, x + width, max(line, height)
        y += line
