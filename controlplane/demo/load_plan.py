"""What load to make: rates over time, Poisson arrivals, and the plan that the load process reads."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Profile:
    """Arrivals per second over time: straight lines between (second, per second) points, level before and after them.

    Two points at the same second make a step. Raises ValueError for no points, times that go back or negative rates.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a profile needs at least one point (second, per second)")
        if any(later[0] < earlier[0] for earlier, later in pairwise(self.points)):
            raise ValueError(f"a profile's seconds must not go back: {self.points}")
        if any(rate < 0 for _, rate in self.points):
            raise ValueError(f"a profile's rates must be 0 or more: {self.points}")

    @property
    def peak_per_s(self) -> float:
        """The highest rate."""
        return max(rate for _, rate in self.points)

    def rate_at(self, at_s: float) -> float:
        """Arrivals per second at a time; at a step the rate after it."""
        if at_s < self.points[0][0]:
            return self.points[0][1]
        for (t0, r0), (t1, r1) in pairwise(self.points):
            if t0 <= at_s < t1:
                return r0 + (r1 - r0) * (at_s - t0) / (t1 - t0)
        return self.points[-1][1]

    def arrivals(self, seed: str, duration_s: float) -> Iterator[float]:
        """Times of a Poisson process with this rate, in order, below `duration_s`; the same for the same seed.

        Drawn at the peak rate and thinned (Lewis and Shedler 1979).
        """
        peak = self.peak_per_s
        if peak == 0:
            return
        source = random.Random(seed)
        at_s = source.expovariate(peak)
        while at_s < duration_s:
            if source.random() * peak < self.rate_at(at_s):
                yield at_s
            at_s += source.expovariate(peak)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """All that the load process needs.

    `grpc` is Triton's host:port, `api` the control plane's base URL for waking models (without it a model that is not
    loaded is a failure), `token_file` holds its bearer token, `metrics_port` is where the gateway page is served
    (0: none), `result` the JSON file written at the end. Latencies above `timeout_s` are failures.
    """

    grpc: str
    profiles: dict[str, Profile]
    duration_s: float
    seed: int = 1
    api: str | None = None
    token_file: str | None = None
    metrics_port: int = 0
    result: str | None = None
    timeout_s: float = 30.0
    drain_s: float = 10.0
    max_in_flight: int = 4000
    inputs: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the plan as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_plan(path: Path) -> LoadPlan:
    """The plan in a JSON file. Raises ValueError when it is not one, OSError when it cannot be read."""
    try:
        given: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        profiles = {
            model: Profile(tuple((float(t), float(r)) for t, r in profile["points"]))
            for model, profile in given.pop("profiles").items()
        }
        inputs = {model: tuple(map(float, row)) for model, row in given.pop("inputs", {}).items()}
        return LoadPlan(profiles=profiles, inputs=inputs, **given)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a load plan: {error}") from error


def profile_from_text(text: str) -> Profile:
    """A profile written as `second:rate,second:rate`, for example `0:5,30:5,60:80`. Raises ValueError."""
    try:
        points = tuple((float(t), float(r)) for t, r in (point.split(":") for point in text.split(",")))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a profile; it is written second:rate,second:rate") from error
    return Profile(points)
