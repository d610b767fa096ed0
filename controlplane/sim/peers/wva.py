"""llm-d's workload variant autoscaler: the token-based analyzer."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from controlplane.sim.peers.hpa import Behavior
from controlplane.sim.peers.policy import History, current, mean_tokens, queued, ready
from controlplane.sim.service import LlmService

_KV_SHARE = 0.80
_LONG_QUEUE = 5
_UP, _DOWN = 0.85, 0.70
_PAGE_S = 60.0
_SAMPLES = 10


class WvaV2:
    """WVA's saturation analyzer V2: demand and capacity in KV tokens, every 60 s, carried out by an HPA.

    demand of a replica = tokens in use + waiting * mean prompt; of the gateway, queued * (mean prompt + mean output).
    Capacity of a replica = min(k1, k2): k1 = 80 % of the KV tokens; k2 what was in use while 5 or more waited, else
    the mean of the last 10 such readings with outputs of the same class (under 100, under 500, more), else
    N * (I + O / 2) with N = min(B * O / (I + O), S) for B batched tokens and S sequences. The pool's is the median.
    required = D / 0.85 - (ready + starting) * capacity adds ceil(required / capacity); else
    spare = ready * capacity - D / 0.70 removes floor(spare / capacity).
    Nothing changes where no page of a ready replica was read within a minute (missing metrics are skipped).
    Knob: the 0.85; the 0.70 keeps its proportion. Source: llm-d-incubation/workload-variant-autoscaler,
    internal/engines/analyzers/saturation_v2/analyzer.go.
    """

    interval_s = 60.0

    def __init__(self, knob: float, service: LlmService) -> None:
        self._up, self._down = knob, knob * _DOWN / _UP
        self._service = service
        self._behavior = Behavior()
        self._full: dict[int, deque[float]] = {}
        """Tokens in use of replicas with a queue, by class of output."""

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        return self._behavior.limit(history.now.at_s, current(history.now), self.wanted(history))

    def wanted(self, history: History) -> int:
        """Replicas by the analyzer (wva_desired_replicas), before the HPA."""
        signals = history.now
        asked, serving = current(signals), ready(signals)
        prompt, output = mean_tokens(history)
        pages = history.latest(_PAGE_S).values()
        if not serving or len(pages) < len(serving) or prompt is None or output is None:
            return asked
        loads = [((replica.kv_used_share or 0.0) * self._service.kv_tokens, replica.waiting) for replica in pages]
        demand = sum(used + waiting * prompt for used, waiting in loads) + queued(signals) * (prompt + output)
        capacity = median(self._capacity(used, waiting, prompt, output) for used, waiting in loads)
        required = demand / self._up - asked * capacity
        if required > 0:
            return asked + math.ceil(required / capacity)
        spare = len(serving) * capacity - demand / self._down
        return asked - (math.floor(spare / capacity) if spare > 0 else 0)

    def _capacity(self, used: float, waiting: float, prompt: float, output: float) -> float:
        k1 = self._service.kv_tokens * _KV_SHARE
        seen = self._full.setdefault(0 if output < 100 else 1 if output < 500 else 2, deque(maxlen=_SAMPLES))
        if waiting >= _LONG_QUEUE and used > 0:
            seen.append(used)
            return min(k1, used)
        if seen:
            return min(k1, sum(seen) / len(seen))
        together = min(self._service.max_batched_tokens * output / (prompt + output), self._service.max_num_seqs)
        return min(k1, together * (prompt + output / 2))
