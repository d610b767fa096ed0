"""What is configured about MIG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.fleet import Mode
from controlplane.domain.mig import GpuOperator


@dataclass(frozen=True, slots=True)
class MigWish:
    """A model that is to have slices: memory of a copy, and requests per second of one by profile where that is given.

    `share`: its copies may be on slices together with those of other such models. `whole`: they are on no slices, only
    on whole GPUs.
    """

    name: str
    memory_gib: float
    profiles: Mapping[str, float] = field(default_factory=dict)
    share: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class MigSettings:
    """Layouts are planned every `every_s` seconds; a new one has to pay within `dwell_s`.

    `agents`: the nodes whose GPUs count; None: all that are seen. In mode ACT the agents are asked with the token in
    `token_file`, and a copy that was started has `start_s` seconds until it answers; `operator` cuts in their place.
    At most `max_share` of the GPUs that may be cut are out of service at a time, `max_plan_share` within one plan, and
    one always, or those that need each other.
    """

    mode: Mode
    every_s: float
    dwell_s: float
    models: tuple[MigWish, ...]
    agents: frozenset[str] | None = None
    token_file: str = ""
    start_s: float = 600.0
    operator: GpuOperator | None = None
    max_share: float = 0.25
    max_plan_share: float = 0.5
