"""Serving processes that count as Triton and vLLM do, and remember what really came and was answered.

The reset rules are those verified on real servers: an unload ends a model's series once it is drained, all but the
failures; a hot reload sets the statistics back and nothing else; a crash loses everything, what is under way included.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from controlplane.collect.counters import FAILED, Executed

# What a dead backend makes a request wait.
FAILS_AFTER_S = 0.001


@dataclass
class Request:
    """One request of others or, with its handle, of our own."""

    at: float
    takes_s: float
    fails: bool = False
    own: Any = None


@dataclass
class Batch:
    """Requests that execute together."""

    begun: float
    ends: float
    requests: list[Request]
    retiring: bool = False
    """Its instance takes no other after it."""


@dataclass
class Engine:
    """One model: a queue before instances that take up to `max_batch` requests at a time.

    `full_at` requests in the queue turn away the next one, uncounted. Who waits longer than `timeout_s` is rejected.
    `counts_all` False: requests whose clients go away while they execute end at once and are counted nowhere, as on a
    vLLM; a Triton goes on with those.
    """

    instances: int
    max_batch: int
    counts_all: bool = True
    full_at: int = 1000
    timeout_s: float = 1e9
    now: float = 0.0
    up: bool = True
    loaded: bool = True
    leaving: bool = False
    touched: bool = True
    waiting: deque[Request] = field(default_factory=deque)
    batches: list[Batch] = field(default_factory=list)
    success: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    first_tokens: int = 0
    request_s: float = 0.0
    queue_s: float = 0.0
    sizes: dict[int, Executed] = field(default_factory=dict)
    # The truth.
    arrived_at: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    rejected_at: list[float] = field(default_factory=list)
    reset_at: list[float] = field(default_factory=list)
    reloaded: bool = False
    """Whether old instances went on beside new ones since a reader last looked."""
    left_untold: bool = False
    """Whether instances were given back while others that were taken away still executed."""
    own_ended: list[tuple[Any, float, bool, bool]] = field(default_factory=list)
    own_turned_away_at: list[float] = field(default_factory=list)

    @property
    def running(self) -> int:
        return sum(len(batch.requests) for batch in self.batches)

    @property
    def counters(self) -> dict[str, float]:
        """Everything on the metrics page that can be seen to go down."""
        counters: dict[str, float] = {f"failed {reason}": count for reason, count in self.failures.items()}
        if self.loaded:
            counters |= {"success": self.success, "request_s": self.request_s, "queue_s": self.queue_s}
        return counters

    def arrive(self, request: Request) -> None:
        serves = self.up and self.loaded and not self.leaving
        if not serves or len(self.waiting) >= self.full_at:
            self._ended(request, counted=False, turned_away=serves)
            return
        self.waiting.append(request)
        if request.own is None:
            self.arrived_at.append(self.now)
        self.advance(0.0)

    def cancel(self) -> None:
        """A client goes away: of a request that waits, or of one that executes where that ends it."""
        if self.counts_all and self.waiting:
            self._answer(self.waiting.pop(), "CANCELED")
        elif self.batches and not self.counts_all:
            self._ended(self.batches[-1].requests.pop(), counted=True)
            self.batches = [batch for batch in self.batches if batch.requests]
            self.answered_at.append(self.now)

    def advance(self, seconds: float) -> None:
        """Let everything happen in the order of time."""
        until = self.now + seconds
        while True:
            self._start()
            ends = min((batch.ends for batch in self.batches), default=until + 1)
            late = min((request.at + self.timeout_s for request in self.waiting), default=until + 1)
            if min(ends, late) > until:
                break
            self.now = max(self.now, min(ends, late))
            if ends <= late:
                self._finish(min(self.batches, key=lambda batch: batch.ends))
            else:
                request = min(self.waiting, key=lambda waiter: waiter.at)
                self.waiting.remove(request)
                self.rejected_at.append(self.now)
                self._answer(request, "REJECTED")
        self.now = until
        if self.leaving and not self.waiting and not self.batches:
            self._forget()
            self.loaded = self.leaving = False

    def unload(self) -> None:
        if self.up and self.loaded:
            self.leaving = True
            self.advance(0.0)

    def load(self) -> None:
        if self.up and not self.loaded:
            self.loaded = self.touched = True

    def hot_reload(self) -> None:
        if self.up and self.loaded:
            self.reloaded |= bool(self.batches)
            self.sizes = {}
            self._retire(0)

    def set_instances(self, count: int) -> None:
        """The configuration says so at once; instances that are taken away end their batch first."""
        self.left_untold |= count > self.instances and any(batch.retiring for batch in self.batches)
        self.instances = count
        self._retire(count)

    def crash(self) -> None:
        if self.up:
            for request in [*self.waiting, *(r for batch in self.batches for r in batch.requests)]:
                self._ended(request, counted=False)
            self.waiting.clear()
            self.batches.clear()
            self._forget()
            self.failures.clear()
            self.up = self.loaded = self.leaving = self.touched = False

    def start(self) -> None:
        self.up = True

    def _forget(self) -> None:
        self.reset_at.append(self.now)
        self.success, self.first_tokens, self.request_s, self.queue_s, self.sizes = 0, 0, 0.0, 0.0, {}

    def _retire(self, keep: int) -> None:
        for batch in [batch for batch in self.batches if not batch.retiring][keep:]:
            batch.retiring = True

    def _start(self) -> None:
        while self.waiting and sum(not batch.retiring for batch in self.batches) < self.instances:
            requests = [self.waiting.popleft() for _ in range(min(self.max_batch, len(self.waiting)))]
            takes_s = max(request.takes_s for request in requests)
            self.first_tokens += len(requests)
            self.batches.append(Batch(self.now, self.now + takes_s, requests))

    def _finish(self, batch: Batch) -> None:
        self.batches.remove(batch)
        good = [request for request in batch.requests if not request.fails]
        for request in batch.requests:
            self._answer(request, "BACKEND" if request.fails else "")
            if not request.fails:
                self.request_s += self.now - request.at
                self.queue_s += batch.begun - request.at
        key = len(good) or FAILED
        before = self.sizes.get(key, Executed(0, 0))
        compute_ns = round((batch.ends - batch.begun) * 1e9)
        self.sizes[key] = Executed(before.times + 1, before.compute_ns + compute_ns)

    def _answer(self, request: Request, failure: str) -> None:
        if failure:
            self.failures[failure] += 1
        else:
            self.success += 1
        self.answered_at.append(self.now)
        self._ended(request, counted=True)

    def _ended(self, request: Request, *, counted: bool, turned_away: bool = False) -> None:
        if request.own is not None:
            self.own_ended.append((request.own, self.now, counted, turned_away))
            self.own_turned_away_at += [self.now] if turned_away else []
