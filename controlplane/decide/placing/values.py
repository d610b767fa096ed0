"""What placing is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerRoom:
    """One server: the GPU memory that models may have on it, and the models it holds with their instances.

    `memory_bytes` None: not known. `pinned`: nothing is loaded there or unloaded, as with an action in flight.
    `taken_bytes` by those that it holds, where that is not what a copy takes that is loaded afresh.
    """

    name: str
    memory_bytes: int | None
    present: Mapping[str, int] = field(default_factory=dict)
    pinned: bool = False
    taken_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """One model: the GPU memory of a copy that is loaded, and on how many servers it is wanted; one a server at most.

    `extra` of the copies are wanted only where no model lacks one of its others. `memory_bytes` None: neither given nor
    measured. `servers`: where it may run, `pins`: where a person wants it.
    `busy_share`: of a server's time that one copy takes, None: not known. `instances`: with so many a copy is loaded,
    and takes its memory.
    """

    name: str
    memory_bytes: int | None
    copies: int
    servers: tuple[str, ...]
    priority: int = 0
    pins: tuple[str, ...] = ()
    busy_share: float | None = None
    instances: int = 1
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How far is searched. None of these is a time: the same question has the same answer on any machine.

    Programs of up to `exact_pairs` pairs of a model and a server are solved as a whole, larger ones around their
    relaxation; `nodes` and `near_nodes` are those of the solver's tree for the one and the other. `balance_gap`: a
    balance that much off the best one will do.
    """

    nodes: int = 200
    near_nodes: int = 4
    exact_pairs: int = 1500
    balance_gap: float = 0.1
    balance_steps: int = 150
    orders: int = 8
    """So often a target whose loads and unloads have no possible order is replaced by another one."""


@dataclass(frozen=True, slots=True)
class PlacementQuestion:
    """Everything a placement rests on."""

    servers: tuple[ServerRoom, ...]
    models: tuple[ModelNeed, ...]
    limits: Limits = Limits()
