"""A model behind Triton's dynamic batcher, simulated batch by batch: an idle instance takes whatever waits."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

_FAILS_AFTER_S = 0.001

# Published batch-latency lines (seconds for a batch of n: fixed + per_item * n), as the demo's models follow them.
BERT = (0.00258, 0.01369)
RESNET_SLOWED = (0.0237, 0.0081)
DEEPFM_SLOWED = (0.0097, 0.00967)
LINES = {"bert": BERT, "resnet": RESNET_SLOWED, "deepfm": DEEPFM_SLOWED}


@dataclass
class Device:
    """What executions hold one at a time, for a share of each."""

    free_at: float = 0.0


@dataclass
class Batch:
    """Requests that execute together."""

    model: SimModel
    arrived: list[float]
    started: float
    takes_s: float
    fails: bool


@dataclass
class SimModel:
    """One model on one server; the counters are those that a Triton keeps for it."""

    name: str
    line: tuple[float, float] = BERT
    max_batch: int = 8
    rates: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    """(from when, arrivals per second), ascending."""
    seed: int = 0
    device: Device | None = None
    serial_share: float = 0.0
    slowed_by: Callable[[int], float] = lambda _: 1.0
    """Factor on every execution at an instance count: what a thrashing device does."""
    configured: int = 1
    gpus: int = 0
    """GPUs that its instance group lists; 0: a CPU group."""

    loaded: bool = False
    touched: bool = False
    loading: bool = False
    count: int = 0
    dead: int = 0
    idle: int = 0
    retiring: int = 0
    waiting: deque[float] = field(default_factory=deque)
    refused: int = 0
    arrived: int = 0
    success: int = 0
    failures: int = 0
    request_s: float = 0.0
    queue_s: float = 0.0
    executions: Counter[int] = field(default_factory=Counter)
    compute_s: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    latencies: list[float] = field(default_factory=list)
    history: list[tuple[float, int]] = field(default_factory=list)
    """(when, instances) at every change."""

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def come(self, since: float, until: float) -> None:
        """Poisson arrivals in (since, until]."""
        edges = [since, *(at for at, _ in self.rates if since < at < until), until]
        for start, end in itertools.pairwise(edges):
            rate = self.rate_at(start)
            times = np.sort(self._random.uniform(start, end, self._random.poisson(rate * (end - start)))).tolist()
            self.arrived += len(times)
            if self.loaded:
                self.waiting.extend(times)
            else:
                self.refused += len(times)

    def rate_at(self, at: float) -> float:
        """Arrivals per second in force at a time."""
        return next((rate for start, rate in reversed(self.rates) if start <= at), 0.0)

    def set_count(self, count: int, at: float) -> None:
        """More instances are idle at once; fewer: busy ones end their batch first."""
        change = count - self.count
        self.count = count
        self.history.append((at, count))
        if change > 0:
            back = min(self.retiring, change)
            self.retiring -= back
            self.idle += change - back
        else:
            gone = min(self.idle, -change)
            self.idle -= gone
            self.retiring += -change - gone

    def up(self, count: int, at: float) -> None:
        """Loaded: all counters but the failures begin at 0."""
        self.loaded = self.touched = True
        self.dead = self.success = 0
        self.request_s = self.queue_s = 0.0
        self.executions.clear()
        self.compute_s.clear()
        self.idle = self.retiring = self.count = 0
        self.set_count(count, at)

    def down(self, at: float) -> None:
        """Unloaded: who waits is turned away."""
        self.loaded = False
        self.refused += len(self.waiting)
        self.waiting.clear()
        self.idle = self.retiring = self.count = 0
        self.history.append((at, 0))

    def renewed(self, at: float) -> None:
        """Fully reloaded while it served: statistics begin anew, the page's counters go on."""
        self.dead = 0
        self.executions.clear()
        self.compute_s.clear()
        self.history.append((at, self.count))

    def take(self, at: float) -> Batch:
        """The batch that an idle instance starts now."""
        arrived: list[float] = []
        while self.waiting and self.waiting[0] <= at and len(arrived) < self.max_batch:
            arrived.append(self.waiting.popleft())
        self.idle -= 1
        fails = self.dead > 0 and self._random.random() < self.dead / self.count
        takes_s = (self.line[0] + self.line[1] * len(arrived)) * self.slowed_by(self.count)
        return Batch(self, arrived, at, _FAILS_AFTER_S if fails else takes_s, fails)

    def finish(self, batch: Batch, at: float) -> None:
        """Count a batch that has ended."""
        size = len(batch.arrived)
        if batch.fails:
            self.failures += size
        else:
            self.success += size
            self.request_s += size * at - sum(batch.arrived)
            self.queue_s += size * batch.started - sum(batch.arrived)
            self.executions[size] += 1
            self.compute_s[size] += at - batch.started
            self.latencies.extend([at - arrived for arrived in batch.arrived])
        if not self.loaded:
            return
        if self.retiring:
            self.retiring -= 1
        elif self.idle < self.count:
            self.idle += 1


class Machine:
    """Executes the batches of all models of one server in the order of time."""

    def __init__(self, models: Sequence[SimModel], now: float) -> None:
        self.models = models
        self.now = now
        self._events: list[tuple[float, int, bool, Batch]] = []
        self._numbers = itertools.count()

    def advance(self, until: float) -> None:
        """Let everything happen up to `until`."""
        if until <= self.now:
            return
        for model in self.models:
            model.come(self.now, until)
        while True:
            ready = [(max(m.waiting[0], self.now), i) for i, m in enumerate(self.models) if m.idle > 0 and m.waiting]
            start, index = min(ready, default=(until + 1.0, -1))
            event = self._events[0][0] if self._events else until + 1.0
            if min(start, event) > until:
                break
            self.now = min(start, event)
            if event <= start:
                self._happen(*heapq.heappop(self._events))
            else:
                self._start(self.models[index], start)
        self.now = until

    def crash(self) -> None:
        """Everything under way is lost."""
        self._events.clear()

    def _start(self, model: SimModel, at: float) -> None:
        batch = model.take(at)
        shared = model.device is not None and not batch.fails
        own_s = batch.takes_s * (1 - model.serial_share) if shared else batch.takes_s
        self._push(at + own_s, batch, holds=shared)

    def _happen(self, at: float, _number: int, holds: bool, batch: Batch) -> None:
        device = batch.model.device
        if holds and device is not None:
            device.free_at = max(at, device.free_at) + batch.takes_s * batch.model.serial_share
            self._push(device.free_at, batch, holds=False)
        else:
            batch.model.finish(batch, at)

    def _push(self, at: float, batch: Batch, *, holds: bool) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), holds, batch))


def attainment(line: tuple[float, float], count: int, rate: float, *, seconds: float, objective_s: float) -> float:
    """Share of the requests done within the objective in a steady state of `count` instances."""
    model = SimModel("m", line, rates=((0.0, rate),), seed=7)
    machine = Machine([model], 0.0)
    model.up(count, 0.0)
    machine.advance(seconds)
    late = sum(1 for latency in model.latencies if latency > objective_s) + len(model.waiting)
    return 1.0 - late / max(1, len(model.latencies) + len(model.waiting))


def full_batch_s(line: tuple[float, float], max_batch: int = 8) -> float:
    """Seconds of a full batch."""
    return line[0] + line[1] * max_batch


def sufficient(line: tuple[float, float], rate: float, *, target: float = 0.99, batches: float = 3.0) -> int:
    """The smallest count that keeps `target` of the requests within `batches` full batches."""
    goal_s = batches * full_batch_s(line)
    return next(c for c in range(1, 33) if attainment(line, c, rate, seconds=300.0, objective_s=goal_s) >= target)
