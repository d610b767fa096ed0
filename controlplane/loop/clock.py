"""The only clock of the product. Everything below takes `now` as an argument."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]


def wall_clock() -> float:
    """Unix seconds."""
    return time.time()  # noqa: TID251 - this is the clock
