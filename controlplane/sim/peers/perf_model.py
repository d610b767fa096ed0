"""What a replica serves inside the objectives, in closed form from its true fit; the mean-value models.

A replica's time goes to prefill, `pf = max(floor, base + per_token * prompt)` a request, and to decode iterations of
`a + b * running`. With r requests a second of which each generates `o` tokens, prefill takes the share r * pf, so that
tokens come every `itl = (a + b * running) / (1 - r * pf)`; by Little's law `running = r * o * itl`. Together:
`itl = a / (1 - r * (pf + b * o))`, and the largest r with itl <= S is `(1 - a / S) / (pf + b * o)`.

A server that batches: a batch of n requests takes `T(n) = f + p * n`. With r requests a second on each instance those
that come while a batch runs are the next one, `n = r * T(n)`, so `n = max(1, r * f / (1 - r * p))`. A request waits for
half a batch, with the chance `min(1, r * T(1))` that one runs, and takes one: `latency = T(n) * (1 + chance / 2)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.service import BatchService, LlmService


@dataclass(frozen=True, slots=True)
class Slo:
    """Objectives of one request: seconds to the first token, mean seconds between the others."""

    ttft_s: float = 1.0
    itl_s: float = 0.05

    def times(self, share: float) -> Slo:
        """A share of both."""
        return Slo(self.ttft_s * share, self.itl_s * share)


@dataclass(frozen=True, slots=True)
class LatencySlo:
    """Objective of one request: seconds from its arrival to its answer."""

    latency_s: float = 0.1

    def times(self, share: float) -> LatencySlo:
        """A share of it."""
        return LatencySlo(self.latency_s * share)


@dataclass(frozen=True, slots=True)
class PerfModel:
    """The mean-value model of one replica under requests of these mean token counts."""

    service: LlmService
    prompt_tokens: float
    output_tokens: float

    @property
    def prefill_s(self) -> float:
        """Seconds of the replica that the prompt of one request takes."""
        return float(prefill_s(self.service, np.array([self.prompt_tokens]))[0])

    def itl_s(self, per_s: float) -> float:
        """Mean seconds between tokens at an arrival rate; inf from saturation on."""
        left = 1 - per_s * (self.prefill_s + self.service.itl_per_running_s * self.output_tokens)
        return self.service.itl_base_s / left if left > 0 else float("inf")

    def itl_at_s(self, running: float) -> float:
        """Mean seconds between tokens while so many requests run in the steady state."""
        # running = r * o * itl turned round: itl = a + b * running + pf * running / o
        by_one = self.service.itl_per_running_s + self.prefill_s / self.output_tokens
        return self.service.itl_base_s + by_one * running

    def running(self, slo: Slo) -> float:
        """Requests that run on one replica at its capacity."""
        rate = self.requests_per_s(slo)
        return rate * self.output_tokens * self.itl_s(rate)

    def requests_per_s(self, slo: Slo) -> float:
        """The largest arrival rate with mean ITL and TTFT inside the objectives and room for all; 0 where none is."""
        by_itl = (1 - self.service.itl_base_s / slo.itl_s) / (
            self.prefill_s + self.service.itl_per_running_s * self.output_tokens
        )
        by_ttft = (1 - self.prefill_s / slo.ttft_s) / self.prefill_s
        held = self.prompt_tokens + self.output_tokens / 2
        most = min(self.service.max_num_seqs, self.service.kv_tokens / held)
        by_room = most / self.output_tokens / self.itl_at_s(most)
        return max(0.0, min(by_itl, by_ttft, by_room))


def prefill_s(service: LlmService, prompt_tokens: NDArray[np.floating] | NDArray[np.int32]) -> NDArray[np.float64]:
    """Seconds of a replica that prompts take, each for itself."""
    by_tokens = service.prefill_base_s + service.prefill_per_token_s * np.asarray(prompt_tokens, np.float64)
    return np.maximum(service.prefill_floor_s, by_tokens)


@dataclass(frozen=True, slots=True)
class BatchModel:
    """The mean-value model of one server that batches. What instances wait for a shared GPU is left out."""

    service: BatchService

    def batch(self, per_s: float) -> float:
        """Requests in a batch at an arrival rate; inf from saturation on."""
        rate = per_s / self.service.instances
        left = 1 - rate * self.service.per_item_s
        size = max(1.0, rate * self.service.fixed_s / left) if left > 0 else math.inf
        return size if size <= self.service.max_batch and rate * self._batch_s(size) <= size * (1 + 1e-9) else math.inf

    def latency_s(self, per_s: float) -> float:
        """Mean seconds from arrival to answer; inf from saturation on."""
        size = self.batch(per_s)
        if math.isinf(size):
            return math.inf
        chance = min(1.0, per_s / self.service.instances * self._batch_s(1))
        return self._batch_s(size) * (1 + chance / 2)

    def requests_per_s(self, slo: LatencySlo) -> float:
        """The largest arrival rate with mean latency inside the objective; 0 where there is none."""
        low, high = 0.0, self.service.instances * self.service.max_batch / self._batch_s(self.service.max_batch)
        while high - low > 1e-4 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self.latency_s(middle) <= slo.latency_s else (low, middle)
        return low if self.latency_s(0.0) <= slo.latency_s else 0.0

    def in_flight(self, slo: LatencySlo) -> float:
        """Requests that a server holds at its capacity (Little's law)."""
        rate = self.requests_per_s(slo)
        return rate * self.latency_s(rate) if rate else 0.0

    def _batch_s(self, size: float) -> float:
        return self.service.fixed_s + self.service.per_item_s * size
