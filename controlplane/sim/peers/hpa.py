"""Kubernetes' HorizontalPodAutoscaler, and KEDA, which feeds one.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go and horizontal.go (v1.30);
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.sim.peers.policy import History, answering, current, in_flight, ready, starting
from controlplane.sim.signals import Missing, ReplicaSignals

TOLERANCE = 0.1
SYNC_S = 15.0


def pods_replicas(
    values: Mapping[int, float], missing: frozenset[int], unready: frozenset[int], target: float, asked: int
) -> int:
    """Replicas by a Pods metric (calcPlainMetricReplicas): `values` by pod that is ready, `target` the mean wanted.

    Missing pods count as on target when that lowers a scale-down, as 0 when it lowers a scale-up; unready ones count
    only against a scale-up, as 0. What turns the direction round that way, or falls within the tolerance, changes
    nothing. There is at least one value.
    """
    ratio = sum(values.values()) / len(values) / target
    if not missing and not (unready and ratio > 1):
        return asked if _is_close(ratio) else math.ceil(_exact(ratio * len(values)))
    filled = dict(values)
    filled |= dict.fromkeys(missing, target if ratio < 1 else 0.0)
    if ratio > 1:
        filled |= dict.fromkeys(unready, 0.0)
    new_ratio = sum(filled.values()) / len(filled) / target
    if _is_close(new_ratio) or (ratio < 1 < new_ratio) or (new_ratio < 1 < ratio):
        return asked
    wanted = math.ceil(_exact(new_ratio * len(filled)))
    turned = (new_ratio < 1 and wanted > asked) or (new_ratio > 1 and wanted < asked)
    return asked if turned else wanted


def external_replicas(total: float, target: float, asked: int) -> int:
    """Replicas by an External metric with an AverageValue target: total / target, with the tolerance.

    (GetExternalPerPodMetricReplicas)
    """
    if asked and _is_close(total / (target * asked)):
        return asked
    return math.ceil(_exact(total / target))


def _is_close(ratio: float) -> bool:
    return abs(1 - ratio) <= TOLERANCE + 1e-9


def _exact(count: float) -> float:
    """A count freed of what floating point adds, so that 3.0000000000000004 pods are 3."""
    return round(count, 9)


@dataclass(frozen=True, slots=True)
class Rule:
    """How fast one direction may go: the larger of so many pods and such a share of them within a period."""

    pods: int
    share: float
    period_s: float
    window_s: float
    """Stabilisation: the safest recommendation of this time holds."""


UP = Rule(pods=4, share=1.0, period_s=15.0, window_s=0.0)
DOWN = Rule(pods=0, share=1.0, period_s=15.0, window_s=300.0)


class Behavior:
    """HPA's stabilisation and rate limits; the defaults are Kubernetes' own."""

    def __init__(self, up: Rule = UP, down: Rule = DOWN) -> None:
        self._up, self._down = up, down
        self._recommended: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []

    def limit(self, now_s: float, asked: int, wanted: int) -> int:
        """What becomes of a recommendation: stabilised, then limited (stabilizeRecommendationWithBehaviors)."""
        if not self._recommended:
            # what it finds counts as recommended (recordInitialRecommendation)
            self._recommended.append((now_s, asked))
        longest_s = max(self._up.window_s, self._down.window_s)
        self._recommended = [(at, n) for at, n in self._recommended if at > now_s - longest_s or at == now_s]
        lowest = min([wanted, *(n for at, n in self._recommended if at > now_s - self._up.window_s)])
        highest = max([wanted, *(n for at, n in self._recommended if at > now_s - self._down.window_s)])
        self._recommended.append((now_s, wanted))
        stable = min(max(asked, lowest), highest)
        limited = min(stable, self._most(now_s, asked)) if stable > asked else max(stable, self._least(now_s, asked))
        if limited != asked:
            self._changes.append((now_s, limited - asked))
        return limited

    def _most(self, now_s: float, asked: int) -> int:
        start = self._start(now_s, asked, self._up)
        return max(asked, start + self._up.pods, math.ceil(start * (1 + self._up.share)))

    def _least(self, now_s: float, asked: int) -> int:
        start = self._start(now_s, asked, self._down)
        return min(asked, start - self._down.pods, math.floor(start * (1 - self._down.share)))

    def _start(self, now_s: float, asked: int, rule: Rule) -> int:
        """Replicas at the start of a rule's period."""
        return asked - sum(change for at, change in self._changes if at > now_s - rule.period_s)


class _PodsHpa(ABC):
    """HPA on a metric of each pod.

    A pod that starts serves no metrics page yet: it is a missing one, as one that was not scraped or says NaN (of
    which some versions of the Prometheus adapter make 0). Without any value it is an error: nothing changes.
    """

    interval_s = SYNC_S

    def __init__(self, knob: float) -> None:
        self._target = knob
        self._behavior = Behavior()

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        now, asked = history.now, current(history.now)
        values = self._values(history)
        if not values:
            return asked
        missing = frozenset(replica.id for replica in (*ready(now), *starting(now)) if replica.id not in values)
        wanted = pods_replicas(values, missing, frozenset(), self._target, asked)
        return self._behavior.limit(now.at_s, asked, wanted)

    @abstractmethod
    def _values(self, history: History) -> dict[int, float]:
        """The metric by pod that has it."""


class InFlightHpa(_PodsHpa):
    """HPA on requests that each pod holds (vllm:num_requests_running + num_requests_waiting). Knob: their target."""

    def _values(self, history: History) -> dict[int, float]:
        return {replica.id: float(in_flight((replica,))) for replica in answering(history.now)}


class UseHpa(_PodsHpa):
    """HPA on how full each pod is: vllm:kv_cache_usage_perc, or the busy share of a minute where there is no KV cache.

    Knob: the target share.
    """

    def _values(self, history: History) -> dict[int, float]:
        serving = answering(history.now)
        full = {replica.id: replica.kv_used_share for replica in serving if replica.kv_used_share is not None}
        return full or _busy_shares(history)


def _busy_shares(history: History) -> dict[int, float]:
    """Share of the last minute, or of the time since it was ready, in which each replica executed something.

    As far as it was scraped; a NaN or a refusal now leaves none.
    """
    now = history.now
    asked = {replica.id for replica in ready(now) if isinstance(replica, ReplicaSignals) or replica.why == "absent"}
    first: dict[int, tuple[float, float]] = {}
    shares: dict[int, float] = {}
    for reading in history.within(60.0):
        for replica in answering(reading):
            since_s, busy_s = first.setdefault(replica.id, (reading.at_s, replica.busy_s))
            if replica.id in asked and reading.at_s > since_s:
                shares[replica.id] = (replica.busy_s - busy_s) / (reading.at_s - since_s)
    return shares


class Keda:
    """KEDA's prometheus scaler on the request rate of a minute at the gateway: an HPA with an external metric.

    KEDA hands the sum to the HPA as an AverageValue target, every HPA sync; its own polling only matters for zero.
    By default what is empty or NaN counts as 0 (ignoreNullValues), and at an error the HPA holds (no fallback).
    Knob: requests per second by replica. Source: kedacore/keda, pkg/scalers/prometheus_scaler.go, pkg/scaling.
    """

    interval_s = SYNC_S
    _WINDOW_S = 60.0

    def __init__(self, knob: float) -> None:
        self._target = knob
        self._behavior = Behavior()

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        asked = current(history.now)
        rate = history.arrivals_per_s(self._WINDOW_S)
        if isinstance(rate, Missing):
            if rate.why == "refused":
                return asked
            rate = 0.0
        return self._behavior.limit(history.now.at_s, asked, external_replicas(rate, self._target, asked))
