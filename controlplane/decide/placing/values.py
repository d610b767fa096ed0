"""What placing is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.decision import Step


@dataclass(frozen=True, slots=True)
class ServerRoom:
    """One server: the GPU memory that models may have on it, and the models it holds with their instances.

    `memory_bytes` None: not known. `pinned`: nothing is loaded there or unloaded, as with an action in flight.
    """

    name: str
    memory_bytes: int | None
    present: Mapping[str, int] = field(default_factory=dict)
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """One model: the GPU memory that a copy takes, and on how many servers it is wanted; one copy a server at most.

    `memory_bytes` None: neither given nor measured. `servers`: where it may run, `pins`: where a person wants it.
    `busy_share`: of a server's time that one copy takes, None: not known. `hot_reload`: it is reloaded while it serves,
    for which its server must have room for it twice. `instances` are those of a copy that is loaded afresh.
    """

    name: str
    memory_bytes: int | None
    copies: int
    servers: tuple[str, ...]
    priority: int = 0
    pins: tuple[str, ...] = ()
    busy_share: float | None = None
    hot_reload: bool = False
    instances: int = 1


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


@dataclass(frozen=True, slots=True)
class Move:
    """A load or an unload of one model on one server.

    Moves of the same `wave` may go on at the same time; a wave begins when the one before is done, unloads as the
    server's index shows them and not as they are answered.
    """

    wave: int
    step: Step
    model: str
    server: str
    instances: int


class Short(StrEnum):
    """Why copies of a model are placed nowhere."""

    MEMORY = "memory"
    """No server has room for one more."""
    MEMORY_UNKNOWN = "memory_unknown"
    """What a copy takes is not known: those that are there stay, and no other is loaded."""
    SERVER_UNKNOWN = "server_unknown"
    """What memory its servers have, or have left, is not known."""
    SERVERS = "servers"
    """More copies are wanted than there are servers where it may run."""
    ORDER = "order"
    """There is room, but only after an unload that would have to come before its replacement is loaded."""
    SEARCH = "search"
    """The search ended at its limits before it found a place."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Wanted copies of a model that are placed nowhere; `short_bytes` more on the best server would do for one."""

    model: str
    copies: int
    why: Short
    short_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """How far one goal was reached; all goals are minimised, so that none can be below its proved `bound`.

    `pins`: those not met. `priority P`: wanted copies of the class that are not placed, where a model without any copy
    counts more than all copies beside the first ones; both of `wanted` such points. `loads`: of models onto servers.
    `balance`: the busy share of the busiest server.
    """

    name: str
    value: float
    bound: float
    wanted: float | None = None

    @property
    def gap(self) -> float:
        """By so much the value may be off the best one, as a share of what is wanted, else of itself; 0: it is best."""
        whole = abs(self.value) if self.wanted is None else self.wanted
        return (self.value - self.bound) / whole if self.value > self.bound else 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """What each server should hold, the moves from what it holds in order, what is left out, how good it is."""

    target: Mapping[str, tuple[str, ...]]
    moves: tuple[Move, ...]
    unplaced: tuple[Unplaced, ...]
    goals: tuple[Goal, ...]

    @property
    def gap(self) -> float:
        """The largest gap of its goals."""
        return max((goal.gap for goal in self.goals), default=0.0)
