"""How a model's requests are batched, and what may be wrong about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class BatchingKnobs:
    """What Triton's configuration says about batches. Without preferred sizes Triton prefers the largest."""

    max_batch_size: int
    dynamic: bool = True
    max_queue_delay_s: float = 0.0
    preferred_sizes: tuple[int, ...] = ()


class BatchingUse(StrEnum):
    """What is done with advice on the batching of a model."""

    ADVISE = "advise"
    """It is told."""
    ACT = "act"
    """In mode `act` it is carried out too, as far as it is about `dynamic_batching`."""


class BatchingCase(StrEnum):
    """What is wrong about the batching of a model."""

    UNBATCHED = "unbatched"
    """Each request runs alone though more wait: dynamic batching is off."""
    BATCH_LIMIT = "batch_limit"
    """Batches are as large as they may be, and requests wait."""
    PREFERRED_UNREACHED = "preferred_unreached"
    """Batches wait for a preferred size that they never reach."""
    DELAY_TOO_LONG = "delay_too_long"
    """Requests wait for company that does not come, before idle instances."""


@dataclass(frozen=True, slots=True)
class BatchingMemory:
    """What was configured since `since`, and the case that was told last, since `told_since`; None: nothing is."""

    knobs: BatchingKnobs
    since: float
    told: BatchingCase | None = None
    told_since: float = 0.0


def with_batching(config: Mapping[str, Any], knobs: BatchingKnobs) -> dict[str, Any]:
    """A model configuration as Triton's JSON with other `dynamic_batching`; nothing else of it is changed.

    It comes back as it was where it says the same already. `max_batch_size` stays what it is, whatever the knobs say.
    """
    rest = {key: value for key, value in config.items() if key != "dynamic_batching"}
    if not knobs.dynamic:
        return rest
    batching = dict(config.get("dynamic_batching") or {})
    if knobs.preferred_sizes or list(batching.get("preferred_batch_size", ())) != [config.get("max_batch_size")]:
        batching["preferred_batch_size"] = list(knobs.preferred_sizes)
    batching["max_queue_delay_microseconds"] = round(knobs.max_queue_delay_s * 1e6)
    return {**rest, "dynamic_batching": batching}
