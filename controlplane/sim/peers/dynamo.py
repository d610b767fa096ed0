"""NVIDIA Dynamo's planner: predicted throughput as a lower bound, load beside it, one replica at a time."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from controlplane.sim.peers.perf_model import BatchModel, LatencySlo, PerfModel, Slo
from controlplane.sim.peers.policy import History, answering, current, in_flight, mean_tokens, ready, starting
from controlplane.sim.service import BatchService, LlmService
from controlplane.sim.signals import Missing, ReplicaSignals

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

    def add(self, value: float | None) -> None:
        """Take in the value of an interval; none (nan) counts as 0, zeros before the first load are left out."""
        value = value or 0.0
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


class Engine(Protocol):
    """What the planner knows of a replica: its performance model under an SLA."""

    def observe(self, history: History) -> None:
        """Take in what requests of an interval were like."""
        ...

    def requests_per_s(self) -> float | None:
        """What one replica serves inside the SLA, for requests as predicted; None where nothing is predicted."""
        ...

    def step(self, history: History, replicas: tuple[ReplicaSignals, ...]) -> int:
        """1, 0 or -1 by what load does to the replicas that are ready."""
        ...


class Dynamo:
    """Both modes of the planner, on aggregated replicas, with the true performance model.

    Throughput, every 180 s: ceil(predicted requests per second / what one replica serves inside the SLA), a lower
    bound until the next time. Load, every 5 s, once all replicas that were asked for are there and report: one more
    when every replica's estimate is over the SLA; one fewer when with N - 1 all would stay under 0.8 of it.
    What is not known counts as 0. Knob, applied to the engine: the share of the objectives that is its SLA.
    Source: ai-dynamo/dynamo, components/src/dynamo/planner/core/{load_scaling,throughput_scaling}.py.
    """

    interval_s = 5.0

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests = Kalman()
        self._least = 0
        self._due_s: float | None = None

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals = history.now
        if self._due_s is None or signals.at_s >= self._due_s:
            self._due_s = signals.at_s + _THROUGHPUT_S
            self._least = self._lower_bound(history)
        wanted = current(signals)
        known = answering(signals)
        if known and len(known) == len(ready(signals)) and not starting(signals):
            wanted += self._engine.step(history, known)
        return max(wanted, self._least)

    def _lower_bound(self, history: History) -> int:
        rate = history.arrivals_per_s(_THROUGHPUT_S)
        self._requests.add(None if isinstance(rate, Missing) else rate)
        self._engine.observe(history)
        one_per_s = self._engine.requests_per_s()
        if one_per_s is None:
            return 0
        return math.ceil(self._requests.next() / one_per_s) if one_per_s > 0 else self._least + 1


class LlmEngine:
    """Replicas by TTFT and ITL.

    Up by the prefill queue's TTFT or by ITL. Down when with N - 1 the prefill queues would add less than 0.8 of what
    the SLA leaves, and the KV cache would fit and ITL stay under 0.8 of it.
    """

    def __init__(self, service: LlmService, sla: Slo) -> None:
        self._service, self._sla = service, sla
        self._prompt, self._output = Kalman(), Kalman()

    def observe(self, history: History) -> None:
        """Take in what requests of an interval were like."""
        prompt, output = mean_tokens(history)
        self._prompt.add(prompt)
        self._output.add(output)

    def requests_per_s(self) -> float | None:
        """What one replica serves inside the SLA, for tokens as predicted."""
        prompt, output = self._prompt.next(), self._output.next()
        if not (prompt > 0 and output > 0):
            return None
        return PerfModel(self._service, prompt, output).requests_per_s(self._sla)

    def step(self, history: History, replicas: tuple[ReplicaSignals, ...]) -> int:
        """1, 0 or -1 by what load does to the replicas that are ready."""
        prompt, output = mean_tokens(history)
        if prompt is None or output is None:
            return 0
        model = PerfModel(self._service, prompt, output)
        own_s = model.prefill_s
        ttft_s = [own_s * (1 + replica.waiting) for replica in replicas]
        itl_s = [model.itl_at_s(replica.running) for replica in replicas]
        if min(ttft_s) > self._sla.ttft_s or min(itl_s) > self._sla.itl_s:
            return 1
        if len(replicas) < 2:
            return 0
        more = len(replicas) / (len(replicas) - 1)
        fits = all(
            own_s * replica.waiting * more < (self._sla.ttft_s - own_s) * _MARGIN
            and (replica.kv_used_share or 0.0) * more < 1
            and model.itl_at_s(replica.running * more) < self._sla.itl_s * _MARGIN
            for replica in replicas
        )
        return -1 if fits else 0


class BatchEngine:
    """Servers that batch, by latency: a request and those that its instance holds take one batch, by the true line."""

    def __init__(self, service: BatchService, sla: LatencySlo) -> None:
        self._service, self._sla = service, sla

    def observe(self, history: History) -> None:
        """Requests are all alike."""

    def requests_per_s(self) -> float | None:
        """What one server serves inside the SLA."""
        return BatchModel(self._service).requests_per_s(self._sla)

    def step(self, history: History, replicas: tuple[ReplicaSignals, ...]) -> int:  # noqa: ARG002 (now is enough)
        """1, 0 or -1 by what load does to the servers that are ready."""
        held = [in_flight((replica,)) / self._service.instances for replica in replicas]
        if min(map(self._latency_s, held)) > self._sla.latency_s:
            return 1
        if len(replicas) < 2:
            return 0
        more = len(replicas) / (len(replicas) - 1)
        return -1 if all(self._latency_s(one * more) < self._sla.latency_s * _MARGIN for one in held) else 0

    def _latency_s(self, held: float) -> float:
        return self._service.fixed_s + self._service.per_item_s * (1.0 + held)
