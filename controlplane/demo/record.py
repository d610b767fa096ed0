"""What a run of the demo looked like, as values: the picture and the summary are made from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Point:
    """One model at one moment. Times in seconds since the start of the run, latencies in seconds; None: not known.

    `loaded`: the model answers. `budget_left` 1 untouched, 0 spent.
    """

    at_s: float
    loaded: bool | None = None
    ready: int | None = None
    desired: int | None = None
    arrivals_per_s: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    budget_left: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision that changed something: what, why (one line), all that `explain` says, and what came of it."""

    at_s: float
    id: str
    model: str
    step: str
    headline: str
    lines: tuple[str, ...] = ()
    status: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """One model through the run. `threshold_s` and `target` are those of its latency objective."""

    about: str
    threshold_s: float | None
    target: float | None
    points: tuple[Point, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """The whole run. `facts` stand at the top; `phases` are (second, name) in order; `complaints`: what went wrong."""

    duration_s: float
    facts: Mapping[str, str]
    phases: tuple[tuple[float, str], ...]
    tracks: Mapping[str, Track]
    marks: tuple[Mark, ...]
    complaints: tuple[str, ...] = ()
