"""A signal as JSON: its state stands beside its value, so that nobody takes an old number for a new one."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from controlplane.domain.signal import Known, Missing, Signal, Stale

T = TypeVar("T")
V = TypeVar("V")


class View(BaseModel):
    """A model that is read off a domain value by the names of its fields."""

    model_config = ConfigDict(from_attributes=True)


class SignalView(BaseModel, Generic[V]):
    """A reading: known, stale (the last value, too old to act on) or missing (no value, and why)."""

    state: Literal["known", "stale", "missing"]
    value: V | None = Field(description="null when missing")
    age_s: float | None = Field(description="Seconds since it was observed; null when missing")
    why: str = Field(default="", description="Why it is not known")

    @classmethod
    def of(cls, signal: Signal[V], now: float) -> SignalView[V]:
        """The signal at `now`."""
        match signal:
            case Known():
                return cls(state="known", value=signal.value, age_s=_age(signal.observed_at, now))
            case Stale():
                why = signal.why or "not read since"
                return cls(state="stale", value=signal.value, age_s=_age(signal.observed_at, now), why=why)
            case Missing():
                return cls(state="missing", value=None, age_s=None, why=signal.why)


def part(signal: Signal[T], value: V) -> Signal[V]:
    """`value`, read off a signal's own value, with that signal's state and age."""
    match signal:
        case Known():
            return Known(value, signal.observed_at)
        case Stale():
            return Stale(value, signal.observed_at, signal.age_s, signal.why)
        case Missing():
            return signal


def within(outer: Signal[T], inner: Signal[V]) -> Signal[V]:
    """A signal that was read as a part of another one: no better known than that."""
    if isinstance(outer, Stale) and isinstance(inner, Known):
        return Stale(inner.value, inner.observed_at, outer.age_s, outer.why)
    return outer if isinstance(outer, Missing) else inner


def _age(observed_at: float, now: float) -> float:
    return round(max(0.0, now - observed_at), 3)
