"""One function for each kind of panel; each gives whether there was anything to show."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.dashboard_drawing.canvas import Box, Page, characters
from tests.dashboard_drawing.data import Asked, Line, Series, rows
from tests.dashboard_drawing.figures import EDGE, FAINT, PALETTE, TEXT, by_steps, color, meant, shortened, written

Panel = Mapping[str, Any]
Mark = tuple[str, float, float]
"""Colour, from, until."""

_LEGEND_ROW = 16
_LEGEND_ROWS = 3
_ROW = 25
_TICKS_S = (10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 2 * 86400, 7 * 86400)
# few and many, on the dark ground
_HEAT = LinearSegmentedColormap.from_list("heat", ("#181b1f", "#7a3d00", "#ff9830", "#fff3e0"))


def timeseries(page: Page, box: Box, panel: Panel, asked: Asked, marks: Sequence[Mark]) -> bool:
    lines = asked.lines(panel)
    if not lines:
        return False
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    inner = box.inside(left=14)
    colors = [_color(panel, line, at) for at, line in enumerate(lines)]
    under = _legend(page, inner, [line.name for line in lines], colors)
    axes = page.axes(inner.inside(left=56, top=4, right=6, bottom=under + 18))
    _time_axis(axes, asked, inner.w)
    times = np.arange(asked.start, asked.end + asked.step / 1000, asked.step)
    base = np.zeros(len(times))
    for at, line in enumerate(lines):
        values = _on(times, line.series, asked.step)
        if custom["stacking"]["mode"] == "normal":
            top = base + np.nan_to_num(values)
            if custom["drawStyle"] == "bars":
                axes.bar(times, np.nan_to_num(values), asked.step * 0.8, base, color=colors[at], linewidth=0)
            else:
                axes.fill_between(times, base, top, color=colors[at], alpha=0.35, linewidth=0)
                axes.plot(times, top, color=colors[at], linewidth=1)
            base = top
        elif custom["drawStyle"] == "bars":
            axes.bar(times, np.nan_to_num(values), asked.step * 0.8, color=colors[at], linewidth=0)
        else:
            dashed = _is(panel, line, "custom.lineStyle")
            axes.plot(times, values, color=colors[at], linewidth=1.3, linestyle=(0, (5, 3)) if dashed else "-")
            if not dashed and defaults.get("min") == 0:
                axes.fill_between(times, values, 0, color=colors[at], alpha=0.06, linewidth=0)
    _limits(axes, lines, defaults, stacked=custom["stacking"]["mode"] == "normal")
    _thresholds(axes, defaults)
    for ink, since, until in marks:
        axes.axvline(since, color=color(ink), linewidth=0.8, linestyle=(0, (3, 2)), alpha=0.8)
        if until > since:
            axes.axvspan(since, until, color=color(ink), alpha=0.08, linewidth=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return True


def stat(page: Page, box: Box, panel: Panel, asked: Asked, _: Sequence[Mark]) -> bool:
    lines = asked.lines(panel)
    defaults = panel["fieldConfig"]["defaults"]
    inner = box.inside()
    for at, line in enumerate(lines):
        part = Box(inner.x + at * inner.w / len(lines), inner.y, inner.w / len(lines), inner.h)
        told = written(line.last, defaults["unit"], defaults.get("decimals"))
        size = min(26.0, part.w / max(4, len(told)) * 1.1)
        page.centred(part, told, size, ink=by_steps(line.last, defaults["thresholds"]))
        if len(lines) > 1 or "{{" in panel["targets"][0]["legendFormat"]:
            page.text(part.x + part.w / 2, part.y + part.h - 4, line.name, 8, ink=FAINT, ha="center")
    return bool(lines)


def bargauge(page: Page, box: Box, panel: Panel, asked: Asked, _: Sequence[Mark]) -> bool:
    lines = asked.lines(panel)
    defaults = panel["fieldConfig"]["defaults"]
    inner = box.inside()
    most = max((line.last for line in lines), default=0.0) or 1.0
    height = min(34.0, inner.h / max(1, len(lines)))
    for at, line in enumerate(lines):
        y = inner.y + at * height
        told = written(line.last, defaults["unit"], defaults.get("decimals"))
        page.text(inner.x, y + height / 2, shortened(line.name, characters(inner.w * 0.4, 8)), 8)
        bar = Box(inner.x + inner.w * 0.42, y + 4, inner.w * 0.38, height - 8)
        page.rectangle(bar, EDGE)
        ink = by_steps(line.last, defaults["thresholds"])
        page.rectangle(Box(bar.x, bar.y, bar.w * max(0.0, line.last) / most, bar.h), ink, alpha=0.8)
        page.text(inner.x + inner.w, y + height / 2, told, 9, ink=ink, ha="right")
    return bool(lines)


def state_timeline(page: Page, box: Box, panel: Panel, asked: Asked, _: Sequence[Mark]) -> bool:
    lines = asked.lines(panel)
    if not lines:
        return False
    inner = box.inside(left=14)
    fitting = max(1, int((inner.h - 24) // 20))
    shown = lines[:fitting]
    names = min(inner.w * 0.55, 12 + 6.4 * max(len(line.name) for line in shown))
    axes = page.axes(inner.inside(left=names, top=2, right=6, bottom=22))
    _time_axis(axes, asked, inner.w)
    axes.set_ylim(len(shown), 0)
    axes.set_yticks([at + 0.5 for at in range(len(shown))])
    fits = characters(names, 7)
    axes.set_yticklabels([shortened(line.name, fits) for line in shown], color=TEXT)
    axes.grid(visible=False)
    for at, line in enumerate(shown):
        for since, until, value in _runs(line.series, asked.step):
            said, ink = meant(value, panel["fieldConfig"]["defaults"]["mappings"]) or (f"{value:g}", PALETTE[0])
            axes.barh(at + 0.5, until - since, 0.75, since, color=ink, alpha=0.8, linewidth=0)
            if (until - since) / (asked.end - asked.start) * (inner.w - names) > len(said) * 7:
                axes.text(since + asked.step / 2, at + 0.5, said, fontsize=7, va="center", color="black", clip_on=True)
    if len(lines) > len(shown):
        page.text(inner.x, inner.y + inner.h - 4, f"and {len(lines) - len(shown)} more", 7, ink=FAINT)
    return True


def table(page: Page, box: Box, panel: Panel, asked: Asked, _: Sequence[Mark]) -> bool:
    headings, found = rows(panel, asked)
    if not found:
        return False
    looks = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    cells = [[_cell(row.get(heading), looks.get(heading, {})) for heading in headings] for row in found]
    inner = box.inside(top=34)
    # one full of nothing is not shown: a label that no row carries
    kept = [at for at in range(len(headings)) if any(row[at][0] for row in cells)]
    sizes = [max(len(headings[at]), *(len(row[at][0]) for row in cells)) + 2 for at in kept]
    edges = np.cumsum([0, *sizes]) / sum(sizes) * inner.w + inner.x
    for at, x in zip(kept, edges, strict=False):
        fits = characters(edges[kept.index(at) + 1] - x, 8)
        page.text(x, inner.y + 8, shortened(headings[at], fits), 8, ink="#6E9FFF", weight="bold")
        for line, row in enumerate(cells[: int((inner.h - 20) // _ROW)]):
            told, ink = row[at]
            page.text(x, inner.y + 34 + line * _ROW, shortened(told, fits), 8, ink=ink)
    for line in range(min(len(cells), int((inner.h - 20) // _ROW))):
        page.rectangle(Box(inner.x, inner.y + 21 + line * _ROW, inner.w, 1), EDGE)
    return True


def heatmap(page: Page, box: Box, panel: Panel, asked: Asked, _: Sequence[Mark]) -> bool:
    found = {}
    for line in asked.lines(panel):
        found[float(line.series.labels.get("le", "inf"))] = line.series
    if not found:
        return False
    inner = box.inside(left=14)
    axes = page.axes(inner.inside(left=56, top=4, right=6, bottom=22))
    _time_axis(axes, asked, inner.w)
    axes.grid(visible=False)
    times = np.arange(asked.start, asked.end + asked.step / 1000, asked.step)
    edges = sorted(found)
    below = np.array([np.nan_to_num(_on(times, found[edge], asked.step)) for edge in edges])
    counts = np.diff(below, axis=0, prepend=0)
    axes.pcolormesh(times, range(len(edges)), np.ma.masked_less_equal(counts, 1e-9), cmap=_HEAT, shading="nearest")
    unit = panel["options"]["yAxis"]["unit"]
    ticks = range(0, len(edges), max(1, len(edges) // 6))
    axes.set_yticks(list(ticks))
    axes.set_yticklabels(["∞" if np.isinf(edges[at]) else written(edges[at], unit) for at in ticks])
    return True


def text(page: Page, box: Box, panel: Panel, asked: Asked, marks: Sequence[Mark]) -> bool:
    _ = asked, marks
    inner = box.inside()
    content = panel["options"]["content"].replace("`", "").replace("*", "")
    for at, line in enumerate(textwrap.wrap(content, characters(inner.w, 7.5))):
        page.text(inner.x, inner.y + 8 + at * 16, line, 8)
    return True


KINDS: Mapping[str, Callable[[Page, Box, Panel, Asked, Sequence[Mark]], bool]] = {
    "timeseries": timeseries,
    "stat": stat,
    "bargauge": bargauge,
    "state-timeline": state_timeline,
    "table": table,
    "heatmap": heatmap,
    "text": text,
}


def _on(times: Any, series: Series, step: float) -> Any:
    """Values at the times, NaN where there is none: a gap stays a gap."""
    values = np.full(len(times), np.nan)
    for at, value in series.points:
        index = round((at - times[0]) / step)
        if 0 <= index < len(times):
            values[index] = value
    return values


def _runs(series: Series, step: float) -> list[tuple[float, float, float]]:
    """Times of one value without a gap."""
    found: list[tuple[float, float, float]] = []
    for at, value in series.points:
        if found and found[-1][2] == value and at - found[-1][1] <= 0.5 * step:
            found[-1] = (found[-1][0], at + step, value)
        else:
            found.append((at, at + step, value))
    return found


def _time_axis(axes: Axes, asked: Asked, width: float) -> None:
    form = "%H:%M:%S" if asked.end - asked.start < 600 else "%H:%M" if asked.end - asked.start < 2 * 86400 else "%d %b"
    axes.set_xlim(asked.start, asked.end)
    most = max(1.0, min(6.0, (width - 60) / 75))
    apart = next((size for size in _TICKS_S if (asked.end - asked.start) / size <= most), _TICKS_S[-1])
    axes.set_xticks(np.arange(np.ceil(asked.start / apart) * apart, asked.end + 1, apart))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime(form)))


def _color(panel: Panel, line: Line, at: int) -> str:
    fixed = _is(panel, line, "color")
    return color(fixed["fixedColor"]) if fixed else PALETTE[at % len(PALETTE)]


def _is(panel: Panel, line: Line, key: str) -> Any:
    """What an override sets for the query of a line."""
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"] == {"id": "byFrameRefID", "options": line.ref_id}:
            for one in override["properties"]:
                if one["id"] == key:
                    return one["value"]
    return None


def _limits(axes: Axes, lines: Sequence[Line], defaults: Mapping[str, Any], *, stacked: bool) -> None:
    values = [value for line in lines for _, value in line.series.points if np.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if stacked:
        low, high = 0.0, axes.get_ylim()[1]
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    axes.set_ylim(defaults.get("min", 0.0 if 0 <= low < room else low - room), high + room)


def _thresholds(axes: Axes, defaults: Mapping[str, Any]) -> None:
    if defaults["custom"]["thresholdsStyle"]["mode"] == "off":
        return
    low, high = axes.get_ylim()
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is not None and low < step["value"] < high:
            axes.axhline(step["value"], color=color(step["color"]), linewidth=0.8, linestyle=(0, (6, 4)), alpha=0.7)


def _legend(page: Page, box: Box, names: Sequence[str], colors: Sequence[str]) -> float:
    """Names at the bottom of the box, in a few lines at most. Gives the height that they take."""
    lines: list[list[tuple[float, str, str]]] = [[]]
    x, left = 0.0, len(names)
    for name, ink in zip(names, colors, strict=True):
        shown = shortened(name, characters(box.w - 40, 7.5))
        width = 24 + len(shown) * 6.4
        if x + width > box.w and lines[-1]:
            if len(lines) == _LEGEND_ROWS:
                break
            lines.append([])
            x = 0.0
        lines[-1].append((x, shown, ink))
        x, left = x + width, left - 1
    for number, line in enumerate(lines):
        y = box.y + box.h - (len(lines) - number - 0.5) * _LEGEND_ROW
        for x, shown, ink in line:
            page.rectangle(Box(box.x + x, y - 1.5, 12, 3), ink)
            page.text(box.x + x + 16, y, shown, 7.5)
    if left:
        page.text(box.x + box.w, box.y + box.h - _LEGEND_ROW / 2, f"+{left}", 7.5, ink=FAINT, ha="right")
    return len(lines) * _LEGEND_ROW + 4


def _cell(value: str | float | None, look: Mapping[str, Any]) -> tuple[str, str]:
    if value is None:
        return "", TEXT
    if isinstance(value, str):
        return value, TEXT
    if (said := meant(value, look.get("mappings", ()))) is not None:
        return said
    ink = by_steps(value, look["thresholds"]) if "thresholds" in look else TEXT
    return written(value, look.get("unit", "none"), look.get("decimals")), ink
