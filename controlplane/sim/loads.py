"""Loads by the name that a person types, with the minutes before the part that is run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.shapes import Counted
from controlplane.sim.trace import DAYS, FUNCTIONS, Load, load, read_counts

_DAY_S = 86_400.0

Before = NDArray[np.int64]
"""Requests of each minute before a load, the last one ending at its start."""


def load_part(name: str, since_s: float | None, until_s: float | None, cv: float) -> tuple[Load, Before]:
    """A stretch of a trace that comes with the package, of `functions:NAME` (whole minutes), or of a file.

    `cv`: how uneven arrivals inside a minute of functions are (see from_counts). Raises NotFoundError naming what there
    is, also of functions and days, and what reading a file raises.
    """
    if name.startswith(FUNCTIONS):
        until_s = _DAY_S * len(DAYS) if until_s is None else until_s
        days = range(DAYS[0], DAYS[0] + math.ceil(until_s / _DAY_S))
        counted = Counted(read_counts(name.removeprefix(FUNCTIONS), days), cv)
        first = int((since_s or 0.0) // 60)
        return counted.part(since_s or 0.0, until_s), counted.counts[:first]
    requests = load(name)
    if since_s is None and until_s is None:
        return requests, np.zeros(0, np.int64)
    since_s = since_s or 0.0
    whole = int(since_s // 60)
    earlier = requests.part(since_s - 60 * whole, since_s).per_minute()
    before = np.concatenate((earlier, np.zeros(whole - len(earlier), np.int64)))
    return requests.part(since_s, requests.span_s + 1 if until_s is None else until_s), before
