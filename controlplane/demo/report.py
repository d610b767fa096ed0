"""The picture of a run: one HTML file that holds all it needs, for wide and narrow screens, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from controlplane.demo.record import Mark, Point, Run, Track
from controlplane.page.document import Key, Pin, document, facts, panel, pins, times
from controlplane.page.plot import Frame, Series, area, ground, line, runs, stairs, uprights

_GLYPHS = {"up": "▲", "down": "▼", "load": "●", "unload": "○", "reload": "↻"}
_SMOOTH = 5
_CLIP = 2.5  # of the threshold: one slow wake would flatten the curve of all other latencies

Panel = Callable[[Sequence[Mark]], str]


def render(run: Run) -> str:
    """The HTML text of a run."""
    verdict = "The loop worked" if not run.complaints else "The loop did not work: " + "; ".join(run.complaints)
    phases = ", ".join(f"{name} from {clock(at_s)}" for at_s, name in run.phases)
    sections = "\n".join(_section(name, track, run) for name, track in run.tracks.items())
    return document(
        f"controlplane: a day in {run.duration_s:.0f} seconds",
        f"""<h1>A day in {run.duration_s:.0f} seconds</h1>
<p class="soft">A real Triton under load and the control plane scaling it. Execution times stand in for a GPU's.</p>
<p class="verdict{" bad" if run.complaints else ""}">{escape(verdict)}</p>
<p class="soft">The day: {escape(phases)}.</p>
{_facts(run.facts)}
{sections}""",
    )


def clock(at_s: float) -> str:
    """Seconds since the start as m:ss."""
    minutes, seconds = divmod(max(0, round(at_s)), 60)
    return f"{minutes}:{seconds:02d}"


def _facts(named: Mapping[str, str]) -> str:
    return facts({name: escape(figure) for name, figure in named.items()})


def _section(name: str, track: Track, run: Run) -> str:
    marks = [mark for mark in run.marks if mark.model == name]
    end_s = run.duration_s
    panels = [_load_panel(track.points, end_s), _instances_panel(track.points, end_s)]
    panels += [_latency_panel(track, end_s), _budget_panel(track.points, end_s)]
    items = "\n".join(_item(mark) for mark in marks) or '<li class="soft">No decision changed anything.</li>'
    return f"""<section><h2>{escape(name)}</h2><p class="soft">{escape(track.about)}</p>
{_facts(track.facts)}
{pins(_pin(mark, end_s) for mark in marks)}
{"".join(panel(marks) for panel in panels)}
{_times(end_s)}
<ol>{items}</ol></section>"""


def _load_panel(points: Sequence[Point], end_s: float) -> Panel:
    load: Series = [(p.at_s, p.arrivals_per_s) for p in points]
    frame = Frame(0.0, end_s, _nice(_highest(load)))
    curves = area(frame, _smoothed(load), "load") + line(frame, load, "load", "thin")
    return _panel("Load", [Key("load", "arrivals a second")], curves, f"{frame.top:g}/s", points, frame)


def _instances_panel(points: Sequence[Point], end_s: float) -> Panel:
    ready = stairs([(p.at_s, _count(p.ready)) for p in points])
    desired = stairs([(p.at_s, _count(p.desired)) for p in points])
    top = max(_highest(ready), _highest(desired), 1.0) + 0.5
    frame = Frame(0.0, end_s, top)
    curves = area(frame, ready, "ready") + line(frame, ready, "ready") + line(frame, desired, "limit", "dash")
    keys = [Key("ready", "ready"), Key("limit", "desired", "dash")]
    return _panel("Instances", keys, curves, f"{int(top)}", points, frame, label_at=0.5 / top)


def _latency_panel(track: Track, end_s: float) -> Panel:
    p50: Series = [(p.at_s, p.p50_s) for p in track.points]
    p95: Series = [(p.at_s, p.p95_s) for p in track.points]
    limit = track.threshold_s
    top = _highest(p95) or 1.0
    if limit:
        top = min(max(top, 1.25 * limit), _CLIP * limit)
    frame = Frame(0.0, end_s, top)
    curves = line(frame, p50, "p50", "thin") + line(frame, p95, "p95")
    keys = [Key("p95", "p95"), Key("p50", "p50")]
    if limit:
        curves += line(frame, [(0.0, limit), (end_s, limit)], "limit", "dash")
        keys.append(Key("limit", f"objective {limit * 1000:g} ms", "dash"))
    return _panel("Latency", keys, curves, f"{top * 1000:.0f} ms", track.points, frame)


def _budget_panel(points: Sequence[Point], end_s: float) -> Panel:
    left: Series = [(p.at_s, p.budget_left) for p in points]
    frame = Frame(0.0, end_s, 1.05)
    curves = area(frame, left, "budget") + line(frame, left, "budget")
    known = [v for _, v in left if v is not None]
    now = "not measured" if not known else f"{known[-1]:.0%} left" if known[-1] >= 0 else "overspent"
    return _panel("Error budget", [Key("budget", now)], curves, "100 %", points, frame, size="low")


def _panel(
    title: str,
    keys: Sequence[Key],
    curves: str,
    top_label: str,
    points: Sequence[Point],
    frame: Frame,
    *,
    label_at: float = 0.0,
    size: str = "",
) -> Panel:
    def drawn(marks: Sequence[Mark]) -> str:
        lines = uprights(frame, (mark.at_s for mark in marks))
        return panel(title, keys, (_unloaded(points, frame), lines, curves), {label_at: top_label}, size)

    return drawn


def _unloaded(points: Sequence[Point], frame: Frame) -> str:
    """Grey ground where the model was not loaded."""
    away: Series = [(p.at_s, 1.0 if p.loaded is False else None) for p in points]
    return "".join(ground(frame, run[0][0], run[-1][0]) for run in runs(away))


def _pin(mark: Mark, end_s: float) -> Pin:
    share = Frame(0.0, end_s, 1.0).share(mark.at_s)
    return Pin(share, _GLYPHS.get(mark.step, "◆"), f"{clock(mark.at_s)} {mark.headline}", mark.id)


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
    return times([(t / end_s, clock(t)) for t in ticks])


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
