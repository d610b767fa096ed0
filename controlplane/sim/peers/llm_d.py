"""llm-d: the workload variant autoscaler's token-based analyzer, and the SLO-aware HPA."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from controlplane.sim.peers.hpa import Behavior, Rule
from controlplane.sim.peers.perf_model import Slo
from controlplane.sim.peers.policy import History, current, quantile, ready
from controlplane.sim.service import LlmService
from controlplane.sim.signals import TTFT_EDGES_S, ReplicaSignals

_KV_SHARE = 0.80
_LONG_QUEUE = 5
_UP, _DOWN = 0.85, 0.70
_MEAN_S = 300.0
_SAMPLES = 10


class WvaV2:
    """WVA's saturation analyzer V2: demand and capacity in KV tokens, every 60 s, carried out by an HPA.

    demand of a replica = tokens in use + waiting * mean prompt; of the gateway, queued * (mean prompt + mean output).
    Capacity of a replica = min(k1, k2): k1 = 80 % of the KV tokens; k2 what was in use while 5 or more waited, else
    the mean of the last 10 such readings with outputs of the same class (under 100, under 500, more), else
    N * (I + O / 2) with N = min(B * O / (I + O), S) for B batched tokens and S sequences. The pool's is the median.
    required = D / 0.85 - (ready + starting) * capacity adds ceil(required / capacity); else
    spare = ready * capacity - D / 0.70 removes floor(spare / capacity).
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
        if not serving or math.isnan(prompt) or math.isnan(output):
            return asked
        loads = [(replica.kv_used_share * self._service.kv_tokens, replica.waiting) for replica in serving]
        demand = sum(used + waiting * prompt for used, waiting in loads) + signals.queued * (prompt + output)
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


def mean_tokens(history: History) -> tuple[float, float]:
    """Mean prompt and output tokens of a request over five minutes; nan where none was seen."""
    first = history.counts(_MEAN_S, lambda replica: replica.ttft_counts)
    prompts = int(first.sum()) if first is not None else 0
    done = history.increase(_MEAN_S, lambda replica: replica.completed)
    prompt = history.increase(_MEAN_S, lambda replica: replica.prompt_tokens) / prompts if prompts else math.nan
    output = history.increase(_MEAN_S, lambda replica: replica.generated_tokens) / done if done else math.nan
    return prompt, output


_OVER_S = 45.0
_READ_S = 15.0
_THETA_UP, _THETA_DOWN = 0.55, 0.40


class SloAware:
    """llm-d's SLO-aware scaling by latency against its objective.

    s_raw = max(P90 TTFT / objective, P90 TPOT / objective), nan counts as 0; s = mean over 45 s of min(s_raw, 2).
    With n replicas asked for of which a share c is ready: s > 0.55 wants n + ceil(n * (s * c / 0.55 - 1)), s < 0.40
    wants n - floor(n * (1 - s / 0.40)). Beneath an HPA: up max(100 %, 4) in 60 s after 30 s, down 1 in 120 s after
    180 s. llm-d reads latencies that its gateway predicts; here they are measured over 15 s: TTFT from the pool's
    histogram, TPOT the mean of each replica, of which the P90.
    Knob: the 0.55; the 0.40 keeps its proportion. Source: llm-d, guides/workload-autoscaling, README.slo-aware.md.
    """

    interval_s = 15.0

    def __init__(self, knob: float, slo: Slo) -> None:
        self._up, self._down = knob, knob * _THETA_DOWN / _THETA_UP
        self._slo = slo
        self._read: list[tuple[float, float]] = []
        self._behavior = Behavior(
            up=Rule(pods=4, share=1.0, period_s=60.0, window_s=30.0),
            down=Rule(pods=1, share=0.0, period_s=120.0, window_s=180.0),
        )

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals = history.now
        strain = self._strain(history)
        asked = current(signals)
        if not asked:
            return 1 if signals.queued else 0
        here = len(ready(signals)) / asked
        return self._behavior.limit(signals.at_s, asked, self.wanted(strain, here, asked))

    def wanted(self, strain: float, here: float, asked: int) -> int:
        """Replicas by the strain s and the share c that is ready."""
        if strain > self._up:
            return asked + max(0, math.ceil(round(asked * (strain * here / self._up - 1), 9)))
        if strain < self._down:
            return asked - math.floor(round(asked * (1 - strain / self._down), 9))
        return asked

    def _strain(self, history: History) -> float:
        ttft_s = quantile(history.counts(_READ_S, lambda replica: replica.ttft_counts), TTFT_EDGES_S, 0.9)
        now_s = history.now.at_s
        raw = max(_or_0(ttft_s / self._slo.ttft_s), _or_0(_tpot_s(history) / self._slo.itl_s))
        self._read = [(at, s) for at, s in self._read if at > now_s - _OVER_S] + [(now_s, min(raw, 2.0))]
        return sum(s for _, s in self._read) / len(self._read)


def _or_0(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _tpot_s(history: History) -> float:
    """P90 over replicas of their mean seconds between tokens; nan where none generated."""
    window = history.within(_READ_S)
    before = {replica.id: replica for replica in window[0].replicas}
    means = sorted(
        mean for replica in window[-1].replicas if not math.isnan(mean := _mean_itl_s(replica, before.get(replica.id)))
    )
    return means[math.ceil(0.9 * len(means)) - 1] if means else math.nan


def _mean_itl_s(replica: ReplicaSignals, before: ReplicaSignals | None) -> float:
    if replica.itl_counts is None:
        return math.nan
    tokens = int(replica.itl_counts.sum())
    took_s = replica.itl_s_sum
    if before is not None and before.itl_counts is not None:
        tokens, took_s = tokens - int(before.itl_counts.sum()), took_s - before.itl_s_sum
    return took_s / tokens if tokens else math.nan
