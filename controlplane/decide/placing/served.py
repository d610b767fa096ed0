"""The instances with which each copy of a placed model served before one was to leave.

Where it is not known what an instance can take, those that stay are to have as many as served before. A copy that came
for the move adds nothing to that, nor do instances that were raised for it.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.placing.copies import away
from controlplane.decide.placing.spread import Loaded
from controlplane.decide.unit import Unit
from controlplane.domain.observation import ModelState
from controlplane.domain.state import UnitState

_GONE = (ModelState.UNLOADED, ModelState.UNAVAILABLE)


def noted(units: Loaded) -> Loaded:
    """The units of a model on all servers, each with what served there while all copies were to stay."""
    settled = all(unit.placed is not None and unit.placed.stays for unit, _ in units if not _is_gone(unit))
    return [(unit, replace(state, served=_served(unit, state, settled=settled))) for unit, state in units]


def served(unit: Unit, state: UnitState, instances: int) -> int:
    """Of a copy with so many instances, those that served before; all where that is not known, or where it leaves."""
    stays = unit.placed is not None and unit.placed.stays
    return instances if state.served is None or not stays else state.served


def _served(unit: Unit, state: UnitState, *, settled: bool) -> int | None:
    present = unit.present
    if present is None:
        return state.served
    if not present.loaded:
        return state.served if state.wanted else 0  # one that its server lost comes back to serve
    return present.instances if settled or state.served is None else state.served


def _is_gone(unit: Unit) -> bool:
    return away(unit) or (unit.reading is not None and unit.reading.state in _GONE)
