"""A signal is known, missing or stale, and its type says which.

Missing is never zero and never healthy: whoever wants the number has to say what happens without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A reading and when it was made (unix seconds)."""

    value: T
    observed_at: float


@dataclass(frozen=True, slots=True)
class Missing:
    """No reading, and why in a few words ("connection refused", "never scraped")."""

    why: str


@dataclass(frozen=True, slots=True)
class Stale(Generic[T]):
    """The last reading, too old to act on; `age_s` at the time of asking."""

    value: T
    observed_at: float
    age_s: float
    why: str = ""


Signal: TypeAlias = Known[T] | Missing | Stale[T]


def aged(signal: Signal[T], now: float, max_age_s: float, why: str = "") -> Signal[T]:
    """The same signal at time `now`: a known value older than `max_age_s` seconds is stale, because of `why`."""
    if isinstance(signal, Known) and now - signal.observed_at > max_age_s:
        return Stale(signal.value, signal.observed_at, now - signal.observed_at, why)
    return signal


def known(signal: Signal[T]) -> T | None:
    """The value of a known signal, else None (stale and missing alike)."""
    return signal.value if isinstance(signal, Known) else None


def last_value(signal: Signal[T]) -> T | None:
    """The newest value there ever was, known or stale; None when missing. For showing, not for deciding."""
    return None if isinstance(signal, Missing) else signal.value
