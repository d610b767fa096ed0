"""How a model's requests are batched, and what may be wrong about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class BatchingKnobs:
    """What Triton's configuration says about batches. Without preferred sizes Triton prefers the largest."""

    max_batch_size: int
    dynamic: bool = True
    max_queue_delay_s: float = 0.0
    preferred_sizes: tuple[int, ...] = ()


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
    """What was configured since `since`, and the case that was told last; None: nothing is."""

    knobs: BatchingKnobs
    since: float
    told: BatchingCase | None = None
