"""What is configured about MIG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.fleet import Mode


@dataclass(frozen=True, slots=True)
class MigWish:
    """A model that is to have slices: memory of a copy, and requests per second of one by profile where that is given.

    `share`: its copies may be on slices together with those of other such models.
    """

    name: str
    memory_gib: float
    profiles: Mapping[str, float] = field(default_factory=dict)
    share: bool = False


@dataclass(frozen=True, slots=True)
class MigSettings:
    """Layouts are planned every `every_s` seconds; a new one has to pay within `dwell_s`.

    `agents`: the nodes whose GPUs count; None: all that are seen.
    """

    mode: Mode
    every_s: float
    dwell_s: float
    models: tuple[MigWish, ...]
    agents: frozenset[str] | None = None
