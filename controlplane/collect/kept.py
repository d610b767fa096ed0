"""What is kept of the recent past."""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeVar


class _Ended(Protocol):
    @property
    def end(self) -> float: ...


T = TypeVar("T", bound=_Ended)


def forget_before(since: float, kept: deque[T]) -> None:
    """Drop what ended before `since`, oldest first."""
    while kept and kept[0].end < since:
        kept.popleft()
