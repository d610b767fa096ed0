"""What people say: overrides of a model or workload, freezes of scaling, and wants of clients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class OverrideKind(StrEnum):
    """What a person can fix about a model or a workload."""

    LOADED = "loaded"
    UNLOADED = "unloaded"
    INSTANCES = "instances"
    REPLICAS = "replicas"
    """So many replicas of a workload."""
    BOUNDS = "bounds"
    """Other bounds in place of the configured ones; inside them the policy decides."""
    PIN = "pin"
    """Stay as it is: loaded with the instances it had; of a workload the replicas that were asked for."""
    ROLLOUT = "rollout"
    """Another version of the model, beside whatever else is said about it."""


@dataclass(frozen=True, slots=True)
class Override:
    """A person's instruction about a model or, where `workload` names one (`model` is empty then), its replicas.

    `instances` for INSTANCES, REPLICAS and PIN: a total per server, of a workload its replicas. `least` and `most` for
    BOUNDS, of the same. `server` empty: all that the model runs on. ROLLOUT: to `version`, which serves beside the old
    one for `verify_s` seconds before that goes.
    """

    id: str
    model: str
    kind: OverrideKind
    actor: str
    reason: str
    created_at: float
    expires_at: float
    instances: int | None = None
    server: str = ""
    workload: str = ""
    least: int | None = None
    most: int | None = None
    version: str = ""
    verify_s: float = 0.0

    @property
    def subject(self) -> str:
        """The model or workload it is about: their names differ."""
        return self.workload or self.model


class FreezeDirection(StrEnum):
    """What a freeze forbids."""

    ALL = "all"
    NO_UP = "no_up"
    NO_DOWN = "no_down"


@dataclass(frozen=True, slots=True)
class Freeze:
    """No scaling until `expires_at`; people's overrides still act.

    It holds one model with the workloads it runs on, the replicas of one workload, or (both empty) all.
    """

    id: str
    model: str
    direction: FreezeDirection
    actor: str
    reason: str
    created_at: float
    expires_at: float
    workload: str = ""

    @property
    def subject(self) -> str:
        """The model or workload that it holds, whose names differ; empty: all."""
        return self.workload or self.model

    def holds(self, model: str) -> bool:
        """Whether it holds the instances of that model."""
        return self.subject in ("", model)

    def holds_replicas(self, workload: str, models: Collection[str]) -> bool:
        """Whether it holds the replicas of that workload, on which these models run."""
        return self.subject in ("", workload) or self.subject in models


@dataclass(frozen=True, slots=True)
class Want:
    """Somebody asked for a model through its wake source at `at`."""

    model: str
    at: float
    actor: str
