"""Timing of what takes milliseconds or less."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def best_s(work: Callable[[], object], *, for_s: float = 1.0, at_least: int = 3) -> float:
    """Seconds of the fastest of many runs: what is above it is the machine, not the work."""
    gc.collect()
    best, spent, runs = float("inf"), 0.0, 0
    while spent < for_s or runs < at_least:
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
        best, spent, runs = min(best, took), spent + took, runs + 1
    return best
