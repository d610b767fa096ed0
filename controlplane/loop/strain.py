"""When decisions said that demand was near capacity, as plain spans of time by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.domain.decision import Decision, Reason, ReasonCode

NEAR = 0.9
"""Demand at this part of the capacity of the present instances is near it."""
_SEEN_S = 10.0
# A decision tells of the time from which its demand was counted until the next one, or so long where none follows.
_HOLDS_S = 60.0
# Slices are closed from no older readings.
_KEEP_S = 3600.0


class Strain:
    """Remembers them from tick to tick. A restart forgets: the spans of the last minute then explain nothing."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[tuple[float, float], ...]] = {}

    @property
    def spans(self) -> Mapping[str, tuple[tuple[float, float], ...]]:
        """(start, end) in unix seconds by model, oldest first."""
        return self._spans

    def note(self, decisions: Iterable[Decision], now: float) -> None:
        """Take in what was decided at `now`."""
        near = {decision.model for decision in decisions if near_capacity(decision)}
        kept: dict[str, tuple[tuple[float, float], ...]] = {}
        for model in near | self._spans.keys():
            before = [(start, min(end, now)) for start, end in self._spans.get(model, ()) if end > now - _KEEP_S]
            if model in near:
                joins = bool(before) and before[-1][1] >= now - _SEEN_S
                start = before.pop()[0] if joins else now - _SEEN_S
                before.append((start, now + _HOLDS_S))
            if before:
                kept[model] = tuple(before)
        self._spans = kept


def near_capacity(decision: Decision) -> bool:
    """Whether the demand that the decision saw for certain was near the capacity of what there was."""
    replicas = _numbers(decision, ReasonCode.REPLICA_DEMAND)
    if replicas:
        return replicas["demand_replicas"] >= NEAR * replicas["serving_replicas"]
    demand, capacity = _numbers(decision, ReasonCode.DEMAND), _numbers(decision, ReasonCode.CAPACITY)
    held = capacity.get("capacity_per_s", 0.0)
    if held <= 0.0 or decision.current is None or decision.current.instances > capacity["instances"]:
        return False
    return demand.get("low_per_s", 0.0) >= NEAR * held


def _numbers(decision: Decision, code: ReasonCode) -> Mapping[str, float]:
    found: Reason | None = next((reason for reason in decision.reasons if reason.code is code), None)
    return {} if found is None else found.numbers
