"""Draws a dashboard as Grafana lays it out, with real series, to a picture; no Grafana is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tests.dashboard_drawing.canvas import GAP, WIDTH, Page
from tests.dashboard_drawing.data import Asked, Query, Series, spans
from tests.dashboard_drawing.figures import FAINT
from tests.dashboard_drawing.panels import KINDS, Mark

__all__ = ["Drawing", "Query", "Series", "draw"]


@dataclass(frozen=True)
class Drawing:
    """The figure, and the titles of panels that had nothing to show."""

    figure: Figure
    empty: list[str] = field(default_factory=list)

    def save(self, file: Path) -> None:
        self.figure.savefig(file, facecolor=self.figure.get_facecolor())


def draw(
    dashboard: Mapping[str, Any],
    query: Query,
    start: float,
    end: float,
    step: float,
    values: Mapping[str, str] | None = None,
    chosen: Mapping[str, str] | None = None,
) -> Drawing:
    """All panels with what `query` answers, in UTC; `values`: of variables, patterns for several.

    `chosen`: what is written as the value of a variable, in place of All.
    """
    asked = Asked(query, start, end, step, values or {})
    cells = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    page = Page(cells)
    drawing = Drawing(page.figure)
    _head(page, dashboard, asked, chosen or {})
    marks = _marks(dashboard, asked)
    for panel in dashboard["panels"]:
        box = page.box(panel["gridPos"])
        if panel["type"] == "row":
            page.text(box.x + 4, box.y + box.h / 2, f"▾  {panel['title']}", 10, weight="bold")
            continue
        page.frame(box, panel["title"])
        if not KINDS[panel["type"]](page, box, panel, asked, marks):
            page.centred(box.inside(), panel["fieldConfig"]["defaults"]["noValue"], 12)
            drawing.empty.append(panel["title"])
    return drawing


def _head(page: Page, dashboard: Mapping[str, Any], asked: Asked, chosen: Mapping[str, str]) -> None:
    page.text(GAP + 6, 20, dashboard["title"], 14, weight="bold")
    since, until = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at in (asked.start, asked.end))
    page.text(WIDTH - GAP - 6, 20, f"{since} to {until} UTC", 9, ha="right")
    shown = [
        f"{variable['label']}: {chosen.get(variable['name'], 'All')}"
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    page.text(GAP + 6, 46, "    ".join(shown), 8.5, ink=FAINT)


def _marks(dashboard: Mapping[str, Any], asked: Asked) -> list[Mark]:
    """The times of each annotation; where several of its series overlap, one time: drawn each, they would hide all."""
    return [
        (annotation["iconColor"], since, until)
        for annotation in dashboard["annotations"]["list"]
        if "expr" in annotation
        for since, until in _joined(
            sorted(span for series in asked.series(annotation["expr"]) for span in spans(series, asked.step))
        )
    ]


def _joined(found: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for since, until in found:
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(until, joined[-1][1]))
        else:
            joined.append((since, until))
    return joined
