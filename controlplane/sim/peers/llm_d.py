"""llm-d's SLO-aware scaling: an HPA on latency against its objective."""

from __future__ import annotations

import math
from collections.abc import Callable

from controlplane.sim.peers.hpa import Behavior, Rule
from controlplane.sim.peers.perf_model import LatencySlo, Slo
from controlplane.sim.peers.policy import History, current, quantile, queued, read, ready
from controlplane.sim.signals import TTFT_EDGES_S, Missing, ReplicaSignals

_OVER_S = 45.0
_READ_S = 15.0
_THETA_UP, _THETA_DOWN = 0.55, 0.40

Strain = Callable[[History], float]
"""How large a latency is relative to its objective; 0 where it is not known."""


class SloAware:
    """llm-d's SLO-aware scaling by latency against its objective.

    s_raw = max(P90 TTFT / objective, P90 TPOT / objective), where there is one objective of latency P90 latency /
    objective; nan and empty count as 0, an error is passed on and the HPA holds; s = mean over 45 s of min(s_raw, 2).
    With n replicas asked for of which a share c is ready: s > 0.55 wants n + ceil(n * (s * c / 0.55 - 1)), s < 0.40
    wants n - floor(n * (1 - s / 0.40)). Beneath an HPA: up max(100 %, 4) in 60 s after 30 s, down 1 in 120 s after
    180 s. llm-d reads latencies that its gateway predicts; here they are measured over 15 s: TTFT from the pool's
    histogram, TPOT the mean of each replica, of which the P90, latency from the gateway's histogram.
    Knob: the 0.55; the 0.40 keeps its proportion. Source: llm-d, guides/workload-autoscaling, README.slo-aware.md.
    """

    interval_s = 15.0

    def __init__(self, knob: float, strain: Strain) -> None:
        self._up, self._down = knob, knob * _THETA_DOWN / _THETA_UP
        self._strain_now = strain
        self._read: list[tuple[float, float]] = []
        self._behavior = Behavior(
            up=Rule(pods=4, share=1.0, period_s=60.0, window_s=30.0),
            down=Rule(pods=1, share=0.0, period_s=120.0, window_s=180.0),
        )

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals = history.now
        asked = current(signals)
        if isinstance(signals.gateway, Missing) and signals.gateway.why == "refused":
            return asked
        strain = self._strain(history)
        if not asked:
            return 1 if queued(signals) else 0
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
        now_s = history.now.at_s
        raw = self._strain_now(history)
        self._read = [(at, s) for at, s in self._read if at > now_s - _OVER_S] + [(now_s, min(raw, 2.0))]
        return sum(s for _, s in self._read) / len(self._read)


def token_strain(slo: Slo) -> Strain:
    """s_raw of time to the first token and time per output token."""

    def strain(history: History) -> float:
        ttft_s = quantile(history.counts(_READ_S, lambda replica: replica.ttft_counts), TTFT_EDGES_S, 0.9)
        return max((ttft_s or 0.0) / slo.ttft_s, (_tpot_s(history) or 0.0) / slo.itl_s)

    return strain


def latency_strain(slo: LatencySlo) -> Strain:
    """s_raw of the latency at the gateway."""

    def strain(history: History) -> float:
        read = history.gateways(_READ_S)
        if isinstance(read, Missing):
            return 0.0
        (_, first), (_, last) = read[0], read[-1]
        if first.latency_counts is None or last.latency_counts is None:
            return 0.0
        latency_s = quantile(last.latency_counts - first.latency_counts, last.latency_edges_s, 0.9)
        return (latency_s or 0.0) / slo.latency_s

    return strain


def _tpot_s(history: History) -> float | None:
    """P90 over replicas of their mean seconds between tokens; None where none generated."""
    window = history.within(_READ_S)
    before = {replica.id: replica for replica in read(window[0])}
    found = (_mean_itl_s(replica, before.get(replica.id)) for replica in read(window[-1]))
    means = sorted(mean for mean in found if mean is not None)
    return means[math.ceil(0.9 * len(means)) - 1] if means else None


def _mean_itl_s(replica: ReplicaSignals, before: ReplicaSignals | None) -> float | None:
    if replica.itl_counts is None:
        return None
    tokens = int(replica.itl_counts.sum())
    took_s = replica.itl_s_sum
    if before is not None and before.itl_counts is not None:
        tokens, took_s = tokens - int(before.itl_counts.sum()), took_s - before.itl_s_sum
    return took_s / tokens if tokens else None
