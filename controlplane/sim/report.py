"""The picture of a simulation: one HTML file with the fronts, and load, supply and attainment of every contender."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from controlplane.page.document import Key, document, facts, panel, times
from controlplane.page.plot import Frame, Series, area, level, line, stairs
from controlplane.sim.front import BOUNDS, TARGETS, Front, Point, Range, contender, harm
from controlplane.sim.runner import READ_S, Curve
from controlplane.sim.world import World

_COLOURS = (
    *("#4a6fdc", "#178f7d", "#d9772b", "#9a6fc4", "#c8384b", "#5b8c3a"),
    *("#b08a2e", "#3a9ab5", "#d05f9b", "#7d7d7d", "#8a5a3c"),
)
_STYLE = ".plot.front{height:340px}.plot.front+.times{margin-bottom:14px} .head{align-items:baseline}"
_LOWEST, _HIGHEST = 0.9, 0.9997
_SMOOTHED = 6


def render(
    trace: str, world: World, fronts: Mapping[str, Front], hurt: Mapping[str, Point], *, about: str | None = None
) -> str:
    """The HTML text. Every front has at least one point; the plot of fronts is left out where none has two.

    `hurt`: the chosen points under the faults of the world; nothing where it has none. Plots are of the first draw.
    `about`: what was run in words, where it is no trace scaled to a peak.
    """
    swept = any(len(front.points) > 1 for front in fronts.values())
    colours = {name: f"f{n}" for n, name in enumerate(fronts)}
    named = ";".join(f"--f{n}:{_COLOURS[n % len(_COLOURS)]}" for n in range(len(fronts)))
    parts = [
        f"<style>:root{{{named}}}{_STYLE}</style>",
        f"<h1>Simulation of {escape(trace)}</h1>",
        _about(world, fronts) if about is None else f'<p class="soft">{escape(about)}</p>',
        _fronts(fronts, colours) if swept else "",
        _table(fronts, swept=swept),
        _harm(world, fronts, hurt) if hurt else "",
        *(_section(front, hurt.get(name), world) for name, front in fronts.items()),
    ]
    return document(f"controlplane: simulation of {trace}", "\n".join(parts))


def _about(world: World, fronts: Mapping[str, Front]) -> str:
    draws = max(len(front.points[0].outcomes) for front in fronts.values())
    seeds = f"seed {world.seed}" if draws == 1 else f"mean of {draws} draws, seeds from {world.seed} on"
    return (
        f'<p class="soft">{len(world.requests):,} requests, {world.factor:.3g} times the trace, so that its busiest '
        f"minute needs {world.peak_replicas} replicas; start-up {world.startup.mean_s:g} s on average; objective: "
        f"{world.serving.objective}; {seeds}.</p>"
    )


def _fronts(fronts: Mapping[str, Front], colours: Mapping[str, str]) -> str:
    """Attainment over GPU-hours: the best of all points that cost no more."""
    costs = [
        point.gpu_hours
        for front in fronts.values()
        for point in (front.cheapest(_LOWEST), front.chosen())
        if point is not None
    ]
    frame = Frame(0.95 * min(costs), 1.2 * max(costs), _nines(_HIGHEST), _nines(_LOWEST))
    keys = [Key(colours[name], contender(name).title, _kind(name)) for name in fronts]
    drawn = [level(frame, _nines(target)) for target in TARGETS]
    drawn += [line(frame, _best_so_far(front, frame), colours[name], _kind(name)) for name, front in fronts.items()]
    labels = {_from_top(frame, _nines(at)): f"{100 * at:g} %" for at in (_LOWEST, *TARGETS, 0.999)}
    ticks = [(frame.share(at), f"{at:.3g}") for at in np.linspace(frame.start, frame.end, 7)]
    body = panel("Attainment (in nines) over GPU-hours", keys, drawn, labels, "front") + times(ticks)
    return f"<section>{body}</section>"


def _nines(attainment: float) -> float:
    """Attainment by the size of its misses: 1 for 90 %, 2 for 99 %."""
    return -math.log10(1 - min(attainment, _HIGHEST))


def _kind(name: str) -> str:
    return "dash" if name in BOUNDS else ""


def _best_so_far(front: Front, frame: Frame) -> Series:
    """Steps to the best attainment at each cost; nothing below the plot."""
    best = 0.0
    found: list[tuple[float, float | None]] = []
    for point in sorted(front.points, key=lambda point: point.gpu_hours):
        if (attained := _nines(point.attainment)) > max(best, frame.bottom):
            best = attained
            found.append((point.gpu_hours, best))
    return stairs([*found, (frame.end, best)]) if found and found[0][0] < frame.end else []


def _table(fronts: Mapping[str, Front], *, swept: bool) -> str:
    heads = ["", *(f"GPU-hours at {target:.0%}" for target in TARGETS)] if swept else ["", "GPU-hours"]
    heads += ["attainment", "worst 5 min", "actions", "flips", "wasted starts", "knob"]
    rows = "".join(f"<tr>{''.join(_cells(front, heads, swept=swept))}</tr>" for front in fronts.values())
    note = (
        f"<p class='soft'>The figures after the GPU-hours are those at the cheapest point at {TARGETS[-1]:.0%}, or at "
    )
    note += f"{TARGETS[0]:.0%} where no point attains that, or at the best one.</p>" if swept else ""
    titles = "".join(f"<th>{head}</th>" for head in heads)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>{note if swept else ''}"


def _cells(front: Front, heads: Sequence[str], *, swept: bool) -> list[str]:
    point = front.chosen()
    costs = [front.cheapest(target) for target in TARGETS] if swept else [point]
    texts = [escape(front.contender.title)]
    texts += ["not attained" if cost is None else _spread(_hours(cost), "{:.1f}") for cost in costs]
    texts.append(_spread(point.range("attainment"), "{:.2%}"))
    texts.append(f"{point.range('worst_5min').mean:.1%}")
    texts += [f"{point.range(figure).mean:.0f}" for figure in ("actions", "flips", "wasted_starts")]
    texts.append(f"{point.knob:.3g}<span>{escape(front.contender.knob)}</span>")
    return _row(heads, texts)


def _row(heads: Sequence[str], texts: Sequence[str]) -> list[str]:
    return [f'<td data-name="{head}">{text}</td>' for head, text in zip(heads, texts, strict=True)]


def _hours(point: Point) -> Range:
    return point.range("gpu_hours")


def _spread(of: Range, form: str) -> str:
    """The mean, and from the least to the most where draws differ."""
    mean, least, most = (form.format(value) for value in (of.mean, of.least, of.most))
    return mean if least == most else f"{mean}<span>{least} to {most}</span>"


def _harm(world: World, fronts: Mapping[str, Front], hurt: Mapping[str, Point]) -> str:
    """The chosen points under faults, and what those did."""
    heads = ["", "attainment", "lost", "worst 5 min", "GPU-hours", "wasted"]
    rows = []
    for name, point in hurt.items():
        done = harm(fronts[name].chosen(), point)
        texts = [
            escape(contender(name).title),
            _spread(point.range("attainment"), "{:.2%}"),
            _spread(done.attainment_lost, "{:.2%}"),
            f"{point.range('worst_5min').mean:.1%}",
            _spread(_hours(point), "{:.1f}"),
            _spread(done.gpu_hours_wasted, "{:.1f}"),
        ]
        rows.append(f"<tr>{''.join(_row(heads, texts))}</tr>")
    titles = "".join(f"<th>{head}</th>" for head in heads)
    named = escape(", ".join(map(str, world.faults)))
    return (
        f"<h2>Under {named}</h2><table><thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "<p class='soft'>Lost and wasted are against the same knob and draw without faults.</p>"
    )


def _section(front: Front, hurt: Point | None, world: World) -> str:
    of, point = front.contender, front.chosen()
    outcome = point.outcome
    followed = world.elasticity(outcome.curve.ready)
    figures = facts(
        {
            "GPU-hours": f"{outcome.gpu_hours:.1f}",
            "attainment": f"{outcome.attainment:.2%}",
            "worst 5 minutes": f"{outcome.worst_5min:.1%}",
            "actions": str(outcome.actions),
            "turned round": str(outcome.flips),
            "wasted starts": str(outcome.wasted_starts),
            "too few (SPEC)": f"{followed.under:.1%}",
            "too many (SPEC)": f"{followed.over:.1%}",
        }
    )
    return f"""<section><h2>{escape(of.title)}</h2><p class="soft">{escape(of.knob)}: {point.knob:.3g}</p>
{figures}
{curves(outcome.curve, world)}{_under_faults(hurt, world) if hurt else ""}</section>"""


def _under_faults(hurt: Point, world: World) -> str:
    return f'<p class="soft">Under faults</p>{curves(hurt.outcome.curve, world)}'


def curves(curve: Curve, world: World) -> str:
    """Load, supply and attainment over the time of one run."""
    end_s = float(curve.at_s[-1]) + READ_S
    load = Frame(0.0, end_s, 1.08 * float(curve.arrivals_per_s.max()))
    arrivals = _series(curve.at_s, _smooth(curve.arrivals_per_s))
    most = max(int((curve.ready + curve.starting).max()), world.peak_replicas)
    supply = Frame(0.0, end_s, most + 0.5)
    ready = stairs(_series(curve.at_s, curve.ready))
    asked = stairs(_series(curve.at_s, curve.ready + curve.starting))
    inside = Frame(0.0, end_s, 1.03)
    minutes = np.arange(len(curve.minute_attainment), dtype=np.float64) * 60.0 + 30.0
    attained = _series(minutes, curve.minute_attainment)
    return (
        panel(
            "Load",
            [Key("load", "requests per second, mean of 30 s")],
            [area(load, arrivals, "load") + line(load, arrivals, "load", "thin")],
            {0.0: f"{load.top:.3g}/s"},
        )
        + panel(
            "Supply",
            [Key("ready", "ready"), Key("p95", "and starting", "dash")],
            [area(supply, ready, "ready"), line(supply, asked, "p95", "dash"), line(supply, ready, "ready")],
            {
                _from_top(supply, most): f"{most}",
                _from_top(supply, world.peak_replicas): f"{world.peak_replicas}: the peak",
            },
        )
        + panel(
            "Inside the objective, by minute of arrival",
            [Key("budget", "share of requests")],
            [area(inside, attained, "budget"), line(inside, attained, "budget"), level(inside, TARGETS[-1])],
            {_from_top(inside, TARGETS[-1]): f"{TARGETS[-1]:.0%}"},
            "low",
        )
        + times([(share, _clock(share * end_s)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)])
    )


def _series(at_s: NDArray[np.float64], values: NDArray[np.float64] | NDArray[np.int64]) -> Series:
    pairs = zip(at_s.tolist(), np.asarray(values, np.float64).tolist(), strict=True)
    return [(at, None if np.isnan(value) else value) for at, value in pairs]


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.ones(_SMOOTHED)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _from_top(frame: Frame, value: float) -> float:
    return 1 - (value - frame.bottom) / (frame.top - frame.bottom)


def _clock(at_s: float) -> str:
    """Time since the start, h:mm."""
    minutes = round(at_s / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"
