"""Memory and places handed out within one tick: two loads never count on the same bytes."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.memory import copy_sizes, free_bytes
from controlplane.decide.placing.turn import turns
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Decision, Step
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState


class Room:
    """What is left on each server, less what this tick has loaded there so far."""

    def __init__(self, snapshot: Snapshot, state: PolicyState) -> None:
        self._sizes = copy_sizes(snapshot.fleet, state.units)
        self._free = free_bytes(snapshot, self._sizes)
        self._turns = turns(snapshot)

    def given(self, unit: Unit) -> Unit:
        """The unit with what the placement wants of it and the memory there is for it."""
        turn = self._turns.get(unit.server.name)
        return replace(
            unit,
            placed=None if turn is None else turn.of(unit.spec, unit.server.name),
            want=unit.want if turn is None else None,  # it has its copies already
            free_bytes=self._free.get(unit.server.name),
            copy_bytes=self._sizes[unit.spec.name],
        )

    def taken(self, unit: Unit, decision: Decision) -> None:
        """Count a load that was decided."""
        free = self._free.get(unit.server.name)
        if decision.step is Step.LOAD and decision.actionable and free is not None and unit.copy_bytes is not None:
            self._free[unit.server.name] = free - unit.copy_bytes
