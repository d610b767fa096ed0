"""Recorded pages, and a GPU, whose counters grow as if somebody were at work."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

_COUNTER = re.compile(r"(?m)^# TYPE (\S+) (?:counter|histogram)$")
_SAMPLE = re.compile(r"(?m)^([a-zA-Z_:][\w:]*)((?:\{.*\})?) (\S+)$")
_PARTS = re.compile(r"_(bucket|sum|count)$")
_EVERY_S = 1.0


def grown(page: str, factor: int) -> str:
    """The page with each counter so many times as large."""
    counters = set(_COUNTER.findall(page))

    def sample(found: re.Match[str]) -> str:
        name, labels, value = found.groups()
        grows = name in counters or _PARTS.sub("", name) in counters
        return f"{name}{labels} {float(value) * factor:.10g}" if grows else found[0]

    return _SAMPLE.sub(sample, page)


class Growing:
    """Calls with 1, 2, 3 and so on, each second with the next."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self._write = write
        self._stop = threading.Event()
        write(1)
        self._thread = threading.Thread(target=self._grow)
        self._thread.start()

    def end(self) -> None:
        """No more calls."""
        self._stop.set()
        self._thread.join()

    def _grow(self) -> None:
        factor = 1
        while not self._stop.wait(_EVERY_S):
            factor += 1
            self._write(factor)
