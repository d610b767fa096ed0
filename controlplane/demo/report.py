"""The picture of a run: one HTML file that holds all it needs, for wide and narrow screens, light and dark.

Curves are inline SVG stretched to the width of the page; everything that is text is HTML, so that it keeps its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import pairwise

from controlplane.demo.record import Mark, Point, Run, Track

_GLYPHS = {"up": "▲", "down": "▼", "load": "●", "unload": "○", "reload": "↻"}
_SMOOTH = 5
_CLIP = 2.5  # of the threshold: one slow wake would flatten the curve of all other latencies

Series = Sequence[tuple[float, float | None]]


def render(run: Run) -> str:
    """The HTML text of a run."""
    css = (resources.files("controlplane.demo") / "report.css").read_text(encoding="utf-8")
    verdict = "The loop worked" if not run.complaints else "The loop did not work: " + "; ".join(run.complaints)
    phases = ", ".join(f"{name} from {clock(at_s)}" for at_s, name in run.phases)
    sections = "\n".join(_section(name, track, run) for name, track in run.tracks.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>controlplane: a day in {run.duration_s:.0f} seconds</title><style>
{css}</style></head><body>
<h1>A day in {run.duration_s:.0f} seconds</h1>
<p class="soft">A real Triton under load and the control plane scaling it. Execution times stand in for a GPU's.</p>
<p class="verdict{" bad" if run.complaints else ""}">{escape(verdict)}</p>
<p class="soft">The day: {escape(phases)}.</p>
{_facts(run.facts)}
{sections}
</body></html>
"""


def clock(at_s: float) -> str:
    """Seconds since the start as m:ss."""
    minutes, seconds = divmod(max(0, round(at_s)), 60)
    return f"{minutes}:{seconds:02d}"


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()) + "</dl>"


def _section(name: str, track: Track, run: Run) -> str:
    marks = [mark for mark in run.marks if mark.model == name]
    end_s = run.duration_s
    panels = [_load_panel(track.points, end_s), _instances_panel(track.points, end_s)]
    panels += [_latency_panel(track, end_s), _budget_panel(track.points, end_s)]
    items = "\n".join(_item(mark) for mark in marks) or '<li class="soft">No decision changed anything.</li>'
    return f"""<section><h2>{escape(name)}</h2><p class="soft">{escape(track.about)}</p>
{_facts(track.facts)}
<div class="pins">{"".join(_pin(mark, end_s) for mark in marks)}</div>
{"".join(panel(marks) for panel in panels)}
{_times(end_s)}
<ol>{items}</ol></section>"""


Panel = Callable[[Sequence[Mark]], str]


def _load_panel(points: Sequence[Point], end_s: float) -> Panel:
    load: Series = [(p.at_s, p.arrivals_per_s) for p in points]
    top = _nice(_highest(load))
    smooth = _smoothed(load)
    curves = _area(smooth, end_s, top, "load") + _line(load, end_s, top, "load", "thin")
    return _panel("Load", [("load", "", "arrivals a second")], curves, f"{top:g}/s", points, end_s)


def _instances_panel(points: Sequence[Point], end_s: float) -> Panel:
    ready = _stairs([(p.at_s, _count(p.ready)) for p in points])
    desired = _stairs([(p.at_s, _count(p.desired)) for p in points])
    top = max(_highest(ready), _highest(desired), 1.0) + 0.5
    curves = _area(ready, end_s, top, "ready") + _line(ready, end_s, top, "ready")
    curves += _line(desired, end_s, top, "limit", "dash")
    keys = [("ready", "", "ready"), ("limit", "dash", "desired")]
    return _panel("Instances", keys, curves, f"{int(top)}", points, end_s, label_at=0.5 / top)


def _latency_panel(track: Track, end_s: float) -> Panel:
    p50: Series = [(p.at_s, p.p50_s) for p in track.points]
    p95: Series = [(p.at_s, p.p95_s) for p in track.points]
    limit = track.threshold_s
    top = _highest(p95) or 1.0
    if limit:
        top = min(max(top, 1.25 * limit), _CLIP * limit)
    curves = _line(p50, end_s, top, "p50", "thin") + _line(p95, end_s, top, "p95")
    keys = [("p95", "", "p95"), ("p50", "", "p50")]
    if limit:
        curves += _line([(0.0, limit), (end_s, limit)], end_s, top, "limit", "dash")
        keys.append(("limit", "dash", f"objective {limit * 1000:g} ms"))
    return _panel("Latency", keys, curves, f"{top * 1000:.0f} ms", track.points, end_s)


def _budget_panel(points: Sequence[Point], end_s: float) -> Panel:
    left: Series = [(p.at_s, p.budget_left) for p in points]
    shown: Series = [(at_s, None if v is None else max(0.0, v)) for at_s, v in left]
    curves = _area(shown, end_s, 1.05, "budget") + _line(shown, end_s, 1.05, "budget")
    known = [v for _, v in left if v is not None]
    now = "not measured" if not known else f"{known[-1]:.0%} left" if known[-1] >= 0 else "overspent"
    return _panel("Error budget", [("budget", "", now)], curves, "100 %", points, end_s, low=True)


def _panel(
    title: str,
    keys: Sequence[tuple[str, str, str]],
    curves: str,
    top_label: str,
    points: Sequence[Point],
    end_s: float,
    *,
    label_at: float = 0.0,
    low: bool = False,
) -> Panel:
    legend = "".join(
        f'<span class="key {kind}" style="--c:var(--{colour})">{escape(text)}</span>' for colour, kind, text in keys
    )

    def drawn(marks: Sequence[Mark]) -> str:
        lines = "".join(f'<line x1="{_x(m.at_s, end_s)}" x2="{_x(m.at_s, end_s)}" y1="0" y2="100"/>' for m in marks)
        return f"""<div class="head"><b>{title}</b><span>{legend}</span></div>
<div class="plot{" low" if low else ""}"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
{_unloaded(points, end_s)}{lines}{curves}</svg><span style="top:{label_at * 100:.1f}%">{top_label}</span></div>
"""

    return drawn


def _unloaded(points: Sequence[Point], end_s: float) -> str:
    """Grey ground where the model was not loaded."""
    ground: Series = [(p.at_s, 1.0 if p.loaded is False else None) for p in points]
    return "".join(
        f'<rect x="{_x(run[0][0], end_s)}" width="{(run[-1][0] - run[0][0]) / end_s * 1000:.1f}" y="0" height="100"/>'
        for run in _runs(ground)
    )


def _pin(mark: Mark, end_s: float) -> str:
    share = min(1.0, max(0.0, mark.at_s / end_s))
    return (
        f'<a href="#{escape(mark.id)}" style="left:{share * 100:.2f}%;--x:{share * 100:.0f}">'
        f"{_GLYPHS.get(mark.step, '◆')}<i>{clock(mark.at_s)} {escape(mark.headline)}</i></a>"
    )


def _item(mark: Mark) -> str:
    lines = "\n".join(escape(line) for line in mark.lines)
    return (
        f'<li id="{escape(mark.id)}"><details><summary><time>{clock(mark.at_s)}</time>'
        f"<span>{_GLYPHS.get(mark.step, '◆')}</span><span>{escape(mark.headline)}"
        f"{f' <span class=soft>({escape(mark.status)})</span>' if mark.status else ''}</span></summary>"
        f"<pre>{lines}</pre></details></li>"
    )


def _times(end_s: float) -> str:
    step_s = next((s for s in (10, 30, 60, 120, 300, 600, 1800) if end_s / s <= 8), 3600)
    ticks = [float(t) for t in range(0, int(end_s) + 1, step_s) if t == 0 or end_s - t > step_s / 2] + [end_s]
    return (
        '<div class="times">'
        + "".join(f'<span style="left:{t / end_s * 100:.2f}%">{clock(t)}</span>' for t in ticks)
        + "</div>"
    )


def _line(series: Series, end_s: float, top: float, colour: str, kind: str = "") -> str:
    paths = " ".join("M" + " L".join(_dot(at, v, end_s, top) for at, v in run) for run in _runs(series))
    return f'<path class="{kind}" style="--c:var(--{colour})" d="{paths}"/>' if paths else ""


def _area(series: Series, end_s: float, top: float, colour: str) -> str:
    paths = " ".join(
        f"M{_x(run[0][0], end_s)},100 L"
        + " L".join(_dot(at, v, end_s, top) for at, v in run)
        + f" L{_x(run[-1][0], end_s)},100 Z"
        for run in _runs(series)
    )
    return f'<path class="area" style="--c:var(--{colour})" d="{paths}"/>' if paths else ""


def _runs(series: Series) -> list[list[tuple[float, float]]]:
    """The stretches in which values are known; a curve has a gap where nothing was."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at_s, value in series:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((at_s, value))
    return [run for run in runs if len(run) > 1]


def _stairs(series: Series) -> list[tuple[float, float | None]]:
    """The same series drawn in steps: a count holds until the next reading."""
    steps: list[tuple[float, float | None]] = []
    for (_, held), (at_s, value) in pairwise([(0.0, None), *series]):
        if held is not None and value != held:
            steps.append((at_s, held))
        steps.append((at_s, value))
    return steps


def _smoothed(series: Series) -> list[tuple[float, float | None]]:
    values = [v for _, v in series]
    smooth: list[tuple[float, float | None]] = []
    for i, (at_s, value) in enumerate(series):
        near = [v for v in values[max(0, i - _SMOOTH // 2) : i + _SMOOTH // 2 + 1] if v is not None]
        smooth.append((at_s, sum(near) / len(near) if value is not None else None))
    return smooth


def _count(value: int | None) -> float | None:
    return None if value is None else float(value)


def _highest(series: Series) -> float:
    return max((v for _, v in series if v is not None), default=0.0)


def _nice(value: float) -> float:
    """The next round number above."""
    return next((n for n in (5, 10, 20, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000) if n >= value), value)


def _x(at_s: float, end_s: float) -> str:
    return f"{min(1.0, max(0.0, at_s / end_s)) * 1000:.1f}"


def _dot(at_s: float, value: float, end_s: float, top: float) -> str:
    return f"{_x(at_s, end_s)},{100 - min(1.0, value / top) * 100:.1f}"
