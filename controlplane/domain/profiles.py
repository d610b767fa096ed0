"""What was measured of a model before the control plane ran: a place to begin from, which learning soon outweighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class BatchProfile:
    """Seconds to execute a batch: fixed_s + per_item_s * size, for sizes up to `max_batch`, at `instances` instances.

    `source` says in words where it comes from, `measured_at` when it was measured (unix seconds). `points` measured
    points lie around the line with a standard error of `relative_error` of their mean.
    """

    fixed_s: float
    per_item_s: float
    max_batch: int
    instances: int
    source: str
    measured_at: float
    points: int
    relative_error: float

    def service_s(self, size: float) -> float:
        """Seconds one batch of `size` takes."""
        return self.fixed_s + self.per_item_s * size


@dataclass(frozen=True, slots=True)
class TokenProfile:
    """How fast one replica generates tokens.

    Time between them: itl_base_s + itl_per_running_s * running requests. Time to the first one of a request that does
    not wait: prefill_base_s + prefill_per_token_s * prompt tokens. `kv_tokens` fit into its KV cache and `max_num_seqs`
    requests run at a time; None: not told. It was measured with requests of `prompt_tokens` and `output_tokens` on
    average. The rest as in BatchProfile, `relative_error` being that of the time between tokens.
    """

    itl_base_s: float
    itl_per_running_s: float
    prefill_base_s: float
    prefill_per_token_s: float
    kv_tokens: int | None
    max_num_seqs: int | None
    prompt_tokens: float
    output_tokens: float
    source: str
    measured_at: float
    points: int
    relative_error: float

    def itl_s(self, running: float) -> float:
        """Seconds between two tokens of a request while so many run."""
        return self.itl_base_s + self.itl_per_running_s * running

    def prefill_s(self, tokens: float) -> float:
        """Seconds to the first token of a request of so many prompt tokens that does not wait."""
        return self.prefill_base_s + self.prefill_per_token_s * tokens


Profile: TypeAlias = BatchProfile | TokenProfile
