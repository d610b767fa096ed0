"""Curves as inline SVG, stretched to the width of the page; everything that is text is HTML, so that it keeps its size.

Colours are named after custom properties of page.css.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Series = Sequence[tuple[float, float | None]]
"""Values over time; None where nothing is known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a plot shows: time from `start` to `end`, values from `bottom` to `top`. What lies outside is clipped."""

    start: float
    end: float
    top: float
    bottom: float = 0.0

    def share(self, at: float) -> float:
        """Where a moment lies, from 0 at the left to 1 at the right."""
        return _clip((at - self.start) / (self.end - self.start)) if self.end > self.start else 0.0

    def x(self, at: float) -> str:
        """A moment as a coordinate."""
        return f"{self.share(at) * 1000:.1f}"

    def y(self, value: float) -> str:
        """A value as a coordinate."""
        return f"{100 - _clip((value - self.bottom) / (self.top - self.bottom)) * 100:.1f}"


def svg(*parts: str) -> str:
    """Parts drawn over each other, the last on top."""
    return f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">\n{"".join(parts)}</svg>'


def line(frame: Frame, series: Series, colour: str, kind: str = "") -> str:
    """A curve with a gap where nothing is known. `kind`: thin, dash."""
    paths = " ".join("M" + " L".join(_dot(frame, at, v) for at, v in run) for run in runs(series))
    return f'<path class="{kind}" style="--c:var(--{colour})" d="{paths}"/>' if paths else ""


def area(frame: Frame, series: Series, colour: str, ground: float | None = None) -> str:
    """The area between a curve and a value, by default the bottom."""
    ground_y = "100" if ground is None else frame.y(ground)
    paths = " ".join(
        f"M{frame.x(run[0][0])},{ground_y} L"
        + " L".join(_dot(frame, at, v) for at, v in run)
        + f" L{frame.x(run[-1][0])},{ground_y} Z"
        for run in runs(series)
    )
    return f'<path class="area" style="--c:var(--{colour})" d="{paths}"/>' if paths else ""


def between(frame: Frame, low: Series, high: Series, colour: str) -> str:
    """The area between two curves that are known at the same moments."""
    paths = " ".join(
        "M" + " L".join(_dot(frame, at, v) for at, v in (*upper, *reversed(lower))) + " Z"
        for lower, upper in zip(runs(low), runs(high), strict=True)
    )
    return f'<path class="area" style="--c:var(--{colour})" d="{paths}"/>' if paths else ""


def ground(frame: Frame, start: float, end: float, kind: str = "", strength: float = 1.0) -> str:
    """Shaded ground from one moment to another."""
    width = (frame.share(end) - frame.share(start)) * 1000
    faded = "" if strength == 1.0 else f' fill-opacity="{strength:.2f}"'
    named = f' class="{kind}"' if kind else ""
    return f'<rect{named} x="{frame.x(start)}" width="{width:.1f}" y="0" height="100"{faded}/>'


def uprights(frame: Frame, moments: Iterable[float], first: float = 0, last: float = 100, kind: str = "") -> str:
    """A vertical line at each moment, from and to a height: 0 top, 100 bottom."""
    named = f' class="{kind}"' if kind else ""
    return "".join(f'<line{named} x1="{frame.x(at)}" x2="{frame.x(at)}" y1="{first}" y2="{last}"/>' for at in moments)


def level(frame: Frame, value: float) -> str:
    """A horizontal line."""
    return f'<line class="level" x1="0" x2="1000" y1="{frame.y(value)}" y2="{frame.y(value)}"/>'


def runs(series: Series) -> list[list[tuple[float, float]]]:
    """The stretches in which values are known; a curve has a gap where nothing was."""
    found: list[list[tuple[float, float]]] = [[]]
    for at, value in series:
        if value is None:
            found.append([])
        else:
            found[-1].append((at, value))
    return [run for run in found if len(run) > 1]


def stairs(series: Series) -> list[tuple[float, float | None]]:
    """The same series drawn in steps: a value holds until the next one."""
    steps: list[tuple[float, float | None]] = []
    for (_, held), (at, value) in pairwise([(0.0, None), *series]):
        if held is not None and value != held:
            steps.append((at, held))
        steps.append((at, value))
    return steps


def _dot(frame: Frame, at: float, value: float) -> str:
    return f"{frame.x(at)},{frame.y(value)}"


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))
