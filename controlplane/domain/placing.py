"""Which models each server should hold: what placing answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.decision import Step


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
    counts more than all copies beside the first ones; both of `wanted` such points. `priority P, more`: copies of the
    class beyond what its models have in any case. `loads`: of models onto servers.
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
