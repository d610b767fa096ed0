"""What a benchmark found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its value in words, the goal in words and whether it was met, and all the numbers behind it."""

    name: str
    value: str
    goal: str
    met: bool
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
