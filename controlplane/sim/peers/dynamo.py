"""NVIDIA Dynamo's planner: predicted throughput as a lower bound, load beside it, one replica at a time."""

from __future__ import annotations

import math

import numpy as np

from controlplane.sim.peers.llm_d import mean_tokens
from controlplane.sim.peers.perf_model import PerfModel, Slo
from controlplane.sim.peers.policy import History, current, ready, starting
from controlplane.sim.service import LlmService
from controlplane.sim.signals import ReplicaSignals

_THROUGHPUT_S = 180.0
_MARGIN = 0.8
_MIN_POINTS = 5


class Kalman:
    """Dynamo's kalman predictor: local linear trend, process noise 1.0 (level) and 0.1 (trend), measurement noise 10.

    Until five values were seen it gives the last one. Source: dynamo, planner/load/predictors.py.
    """

    def __init__(self) -> None:
        self._state = np.zeros(2)
        self._spread = np.eye(2)
        self._seen = 0
        self._last = 0.0

    def add(self, value: float) -> None:
        """Take in the value of an interval; nan counts as 0, zeros before the first load are left out."""
        value = 0.0 if math.isnan(value) else value
        if not self._seen and value == 0:
            return
        self._last = value
        move = np.array([[1.0, 1.0], [0.0, 1.0]])
        if not self._seen:
            self._state = np.array([value, 0.0])
        self._state = move @ self._state
        self._spread = move @ self._spread @ move.T + np.diag([1.0, 0.1])
        gain = self._spread[:, 0] / (self._spread[0, 0] + 10.0)
        self._state = self._state + gain * (value - self._state[0])
        self._spread = self._spread - np.outer(gain, self._spread[0])
        self._seen += 1

    def next(self) -> float:
        """The value of the next interval, at least 0."""
        return max(0.0, float(self._state.sum())) if self._seen >= _MIN_POINTS else self._last


class Dynamo:
    """Both modes of the planner, on aggregated replicas, with the true performance model.

    Throughput, every 180 s: ceil(predicted requests per second / what one replica serves inside the SLA), a lower
    bound until the next time. Load, every 5 s, once all replicas that were asked for are there: one more when every
    replica's estimated TTFT, or every one's estimated ITL, is over the SLA; one fewer when with N - 1 the prefill
    queues would add less than 0.8 of what the SLA leaves, and the KV cache would fit and ITL stay under 0.8 of it.
    Knob: the share of both objectives that it is given as its SLA.
    Source: ai-dynamo/dynamo, components/src/dynamo/planner/core/{load_scaling,throughput_scaling}.py.
    """

    interval_s = 5.0

    def __init__(self, knob: float, service: LlmService, slo: Slo) -> None:
        self._slo = slo.times(knob)
        self._service = service
        self._requests, self._prompt, self._output = Kalman(), Kalman(), Kalman()
        self._least = 0
        self._due_s: float | None = None

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals = history.now
        prompt, output = mean_tokens(history)
        if self._due_s is None or signals.at_s >= self._due_s:
            self._due_s = signals.at_s + _THROUGHPUT_S
            self._least = self._lower_bound(history, prompt, output)
        asked = current(signals)
        wanted = asked
        if not starting(signals) and ready(signals) and not math.isnan(prompt + output):
            wanted += self._step(ready(signals), PerfModel(self._service, prompt, output))
        return max(wanted, self._least)

    def _lower_bound(self, history: History, prompt: float, output: float) -> int:
        self._requests.add(history.arrivals_per_s(_THROUGHPUT_S))
        self._prompt.add(prompt)
        self._output.add(output)
        if not (self._prompt.next() > 0 and self._output.next() > 0):
            return 0
        model = PerfModel(self._service, self._prompt.next(), self._output.next())
        one_per_s = model.requests_per_s(self._slo)
        return math.ceil(self._requests.next() / one_per_s) if one_per_s > 0 else self._least + 1

    def _step(self, replicas: tuple[ReplicaSignals, ...], model: PerfModel) -> int:
        """1, 0 or -1 by what load does to the replicas."""
        own_s = model.prefill_s
        ttft_s = [own_s * (1 + replica.waiting) for replica in replicas]
        itl_s = [model.itl_at_s(replica.running) for replica in replicas]
        if min(ttft_s) > self._slo.ttft_s or min(itl_s) > self._slo.itl_s:
            return 1
        if len(replicas) < 2:
            return 0
        more = len(replicas) / (len(replicas) - 1)
        fits = all(
            own_s * replica.waiting * more < (self._slo.ttft_s - own_s) * _MARGIN
            and replica.kv_used_share * more < 1
            and model.itl_at_s(replica.running * more) < self._slo.itl_s * _MARGIN
            for replica in replicas
        )
        return -1 if fits else 0
