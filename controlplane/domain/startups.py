"""Start-ups: how long a knob takes until what it adds serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

REPLICA = "replica"
"""The knob of a whole server; the others are the steps load, reload and set_instances."""
Knob: TypeAlias = tuple[str, str]
"""A workload, empty for servers that have none, and a knob of its servers: others may be slower machines."""


@dataclass(frozen=True, slots=True)
class Startup:
    """One start-up of a model on a server by a knob, over at `at`: it took `least_s` to `seconds`.

    Both are the same where it was timed. One that nobody announced lies between two readings, so that only bounds of it
    are known. `workload`: that of the server, empty where it has none.
    """

    model: str
    server: str
    knob: str
    at: float
    seconds: float
    least_s: float
    workload: str = ""


@dataclass(frozen=True, slots=True)
class StartupTimes:
    """What is learned of a knob's start-up time from the newest `seen` start-ups, in seconds.

    The next one takes at most `p50_s` with a probability of one half at least, at most `p90_s` with nine tenths.
    `assumed`: so many of the start-ups behind that were not seen but assumed.
    """

    seen: int
    assumed: int
    p50_s: float
    p90_s: float
