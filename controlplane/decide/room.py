"""Memory and places handed out within one tick: two loads never count on the same bytes."""

from __future__ import annotations

from controlplane.decide.copy_size import CopySize
from controlplane.decide.fits import takes
from controlplane.decide.memory import GpuMemory, copy_sizes, free_bytes
from controlplane.decide.placing.turn import Placed, turns
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Decision
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState


class Room:
    """What is left on each server, less what this tick has loaded there so far."""

    def __init__(self, snapshot: Snapshot, gpu: GpuMemory, state: PolicyState) -> None:
        self._sizes = copy_sizes(snapshot.fleet, state.units)
        self._free = free_bytes(snapshot, gpu, self._sizes)
        self._turns = turns(snapshot)
        self._unsettled = {action.server for action in snapshot.in_flight}
        self._unsettled |= {name for name, marks in state.marks.items() if len(marks) > 1}

    def placed(self, model: ModelSpec, server: str) -> Placed | None:
        """What the placement wants of a model on a server; None where all servers of the model hold it."""
        turn = self._turns.get(server)
        return None if turn is None else turn.of(model, server)

    def free_bytes(self, server: str) -> int | None:
        """What is left there; None: not known."""
        return self._free.get(server)

    def size(self, model: str) -> CopySize:
        """What the model takes on a server."""
        return self._sizes[model]

    def unsettled(self, server: str) -> bool:
        """Whether a step is under way there, or what the last one took is not measured yet."""
        return server in self._unsettled

    def taken(self, unit: Unit, decision: Decision) -> None:
        """Count a step that was decided."""
        if decision.actionable:
            self._unsettled.add(unit.server.name)
        free, current, target = self._free.get(unit.server.name), decision.current, decision.target
        if not decision.actionable or free is None or current is None or target is None or unit.spec.lora is not None:
            return
        self._free[unit.server.name] = free - (takes(unit, decision.step, current, target) or 0)
