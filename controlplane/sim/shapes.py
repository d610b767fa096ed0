"""Load that is made: arrivals drawn from counts per minute, and counts of simple shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.trace import Requests

Counts = NDArray[np.int64]


def from_counts(per_minute: Counts, cv: float, rng: np.random.Generator, tokens: Requests | None = None) -> Requests:
    """Arrivals drawn inside minutes of which only the counts are known; the counts are kept exactly.

    The gaps inside a minute are Gamma distributed with coefficient of variation `cv`, scaled so that the minute is
    filled: 1 gives uniform arrivals, which is a Poisson process with that count; 2 to 4 is what requests of people
    show. Token counts are those of requests of `tokens`, drawn as pairs; without it 1 and 1. Raises ValueError for
    a cv of 0 or less.
    """
    if cv <= 0:
        raise ValueError(f"a coefficient of variation of {cv}: above 0 is allowed")
    shape = 1 / cv**2
    drawn = []
    for minute, count in enumerate(per_minute):
        gaps = rng.gamma(shape, size=int(count) + 1)
        # one gap more than arrivals: the last one reaches over the end of the minute
        drawn.append((minute + np.cumsum(gaps)[:-1] / max(gaps.sum(), np.finfo(float).tiny)) * 60.0)
    at_s = np.concatenate(drawn) if drawn else np.zeros(0)
    if tokens is None:
        ones = np.ones(len(at_s), np.int32)
        return Requests(at_s, ones, ones)
    picked = rng.integers(len(tokens), size=len(at_s))
    return Requests(at_s, tokens.prompt_tokens[picked], tokens.output_tokens[picked])


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A load of which only the counts per minute are known; `cv` as in from_counts."""

    counts: Counts
    cv: float = 1.0

    @property
    def span_s(self) -> float:
        """Its length."""
        return 60.0 * len(self.counts)

    def part(self, since_s: float, until_s: float) -> Counted:
        """The whole minutes that a stretch lies in."""
        return Counted(self.counts[int(since_s // 60) : math.ceil(until_s / 60)], self.cv)

    def per_minute(self) -> Counts:
        """The counts."""
        return self.counts

    def sample(self, rng: np.random.Generator) -> Requests:
        """Arrivals with these counts."""
        return from_counts(self.counts, self.cv, rng)

    def times(self, factor: float, rng: np.random.Generator) -> Requests:
        """Arrivals with `factor` times these counts, in whole requests."""
        return from_counts(_counts(self.counts / 60 * factor), self.cv, rng)


def constant(per_s: float, minutes: int) -> Counts:
    """The same load in every minute."""
    return _counts(np.full(minutes, per_s))


def step(low_per_s: float, high_per_s: float, minutes: int, at_minute: int) -> Counts:
    """One load, and from a minute on another one."""
    return _counts(np.where(np.arange(minutes) < at_minute, low_per_s, high_per_s))


def spike(low_per_s: float, high_per_s: float, minutes: int, at_minute: int, length: int) -> Counts:
    """One load, and for some minutes another one."""
    minute = np.arange(minutes)
    return _counts(np.where((minute >= at_minute) & (minute < at_minute + length), high_per_s, low_per_s))


def diurnal(low_per_s: float, high_per_s: float, days: int = 1) -> Counts:
    """Days as a cosine, lowest at midnight."""
    share = (1 - np.cos(2 * np.pi * np.arange(days * 1440) / 1440)) / 2
    return _counts(low_per_s + (high_per_s - low_per_s) * share)


def _counts(per_s: NDArray[np.float64]) -> Counts:
    """Whole counts whose sum follows the exact one: what is rounded off one minute comes in a later one."""
    return np.diff(np.rint(np.cumsum(per_s * 60)), prepend=0).astype(np.int64)
