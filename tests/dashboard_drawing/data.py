"""What a panel shows: series by query, with the names that its legends give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.dashboard_lint import filled_in


@dataclass(frozen=True)
class Series:
    """Points of (unix time, value), oldest first."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


Query = Callable[[str, float, float, float], Sequence[Series]]
"""Expression, start, end, step (s) -> series; start and end the same: an instant query."""


@dataclass(frozen=True)
class Line:
    """A series with its name, of one query of a panel."""

    ref_id: str
    name: str
    series: Series

    @property
    def last(self) -> float:
        return self.series.points[-1][1]


@dataclass(frozen=True)
class Asked:
    """What to ask, for which time, with which values of variables."""

    query: Query
    start: float
    end: float
    step: float
    values: Mapping[str, str] = field(default_factory=dict)

    def series(self, expr: str, *, instant: bool = False) -> list[Series]:
        """The answer, without series that have no points."""
        span = {"__range": f"{int(self.end - self.start)}s", "__rate_interval": f"{int(max(60.0, 4 * self.step))}s"}
        start = self.end if instant else self.start
        answer = self.query(filled_in(expr, {**span, **self.values}), start, self.end, self.step)
        return [series for series in answer if series.points]

    def lines(self, panel: Mapping[str, Any]) -> list[Line]:
        """The series of all queries of a panel, each by its legend."""
        return [
            Line(target["refId"], named(target["legendFormat"], series.labels), series)
            for target in panel["targets"]
            for series in self.series(target["expr"], instant=target["instant"])
        ]


def named(legend: str, labels: Mapping[str, str]) -> str:
    """The legend with the labels filled in."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend).strip(" :,")


def spans(series: Series, step: float) -> Iterator[tuple[float, float]]:
    """From when to when a series has points that are not 0, without gaps."""
    began = last = None
    for at, value in series.points:
        if value and last is not None and at - last <= 1.5 * step:
            last = at
        elif value:
            if began is not None and last is not None:
                yield began, last
            began = last = at
    if began is not None and last is not None:
        yield began, last


def rows(panel: Mapping[str, Any], asked: Asked) -> tuple[list[str], list[dict[str, str | float]]]:
    """Headings and rows of a table, joined by their labels as Grafana's `merge` and `organize` do."""
    (organized,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
    columns = sorted(organized["indexByName"], key=organized["indexByName"].__getitem__)
    labels = [name for name in columns if not name.startswith("Value")]
    found: dict[tuple[str, ...], dict[str, str | float]] = {}
    for target in panel["targets"]:
        column = "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"
        for series in asked.series(target["expr"], instant=True):
            key = tuple(series.labels.get(label, "") for label in labels)
            row = found.setdefault(key, dict(zip(labels, key, strict=True)))
            row[organized["renameByName"][column]] = series.points[-1][1]
    shown = [organized["renameByName"].get(name, name) for name in columns if name not in organized["excludeByName"]]
    return shown, [found[key] for key in sorted(found)]
