"""Knative's pod autoscaler (KPA) on concurrency.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go; defaults of config-autoscaler.
"""

from __future__ import annotations

import math

from controlplane.sim.peers.policy import History, current, in_flight, queued, read, ready
from controlplane.sim.signals import Reading

_STABLE_S = 60.0
_PANIC_S = 6.0
_PANIC_THRESHOLD = 2.0
_UP_RATE, _DOWN_RATE = 1000.0, 2.0
_UTILISATION = 0.7


class Kpa:
    """Stable window 60 s, panic window 10 % of it, threshold 200 %, utilisation 70 %, rates 1000 up and 2 down.

    It ticks every 2 s where it is at home; here with the readings. Requests at the gateway count, as those that
    Knative's activator holds. Pods that do not answer count as those that do hold on average; where none has answered
    within a window, nothing changes (ErrNoData). Knob: the target concurrency of a pod, of which 70 % are used.
    """

    interval_s = 5.0

    def __init__(self, knob: float) -> None:
        self._target = knob * _UTILISATION
        self._panic_since_s: float | None = None
        self._panic_pods = 0
        self._began = False

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals, now_s = history.now, history.now.at_s
        if not self._began:
            # it comes up in panic where there is more than one pod, so that nothing is taken away unseen
            self._began = True
            if current(signals) > 1:
                self._panic_since_s, self._panic_pods = now_s, current(signals)
        pods = max(1, len(ready(signals)))
        held, over = history.mean(_STABLE_S, _concurrency), history.mean(_PANIC_S, _concurrency)
        if held is None or over is None:
            return current(signals)
        stable = self._wanted(held, pods)
        if math.ceil(over / self._target) / pods >= _PANIC_THRESHOLD:
            self._panic_since_s = now_s
        elif self._panic_since_s is not None and self._panic_since_s + _STABLE_S < now_s:
            self._panic_since_s, self._panic_pods = None, 0
        if self._panic_since_s is None:
            return stable
        self._panic_pods = max(self._panic_pods, stable, self._wanted(over, pods))
        return self._panic_pods

    def _wanted(self, concurrency: float, pods: int) -> int:
        """Pods for a concurrency, at most a thousand times and at least half of those that are ready."""
        wanted = math.ceil(concurrency / self._target)
        return min(max(wanted, math.floor(pods / _DOWN_RATE)), math.ceil(_UP_RATE * pods))


def _concurrency(reading: Reading) -> float | None:
    serving = [replica for replica in reading.replicas if replica.phase != "starting"]
    known = [replica for replica in read(reading) if replica.phase != "starting"]
    if serving and not known:
        return None
    scraped = in_flight(known) / len(known) * len(serving) if known else 0.0
    return queued(reading) + scraped
