"""How often this process looks for reference cycles."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 20_000


def collect_rarely() -> None:
    """Set Python's cyclic garbage collector to what a large fleet needs; for a process of its own, once at its start.

    A round over a thousand servers makes some millions of short-lived objects, nearly none of them in cycles. With the
    defaults each few dozen servers have everything that is kept about the fleet searched, more than half of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
