"""Triton's batcher a second time, slowly: payloads as lists, one server. The kernel is held against it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from controlplane.sim.service import BatchService


@dataclass
class Payload:
    requests: list[int] = field(default_factory=list)
    taken: bool = False


@dataclass
class Execution:
    requests: list[int]
    phase_ends_s: float
    serial_s: float
    wants_gpu_since_s: float = math.inf
    has_gpu: bool = False


class ReferenceServer:
    """One server with given arrivals; `run` gives (began_s, done_s, rejected) by request."""

    def __init__(self, service: BatchService, at_s: list[float]) -> None:
        self.service, self.at_s = service, at_s
        self.preferred = set(service.preferred_sizes or (service.max_batch,))
        self.queue: deque[int] = deque()
        self.payloads: deque[Payload] = deque()
        self.current = Payload()
        self.saturated, self.wakes_at, self.wake_s, self.rest_s = False, 0, math.inf, 0.0
        self.executing: list[Execution | None] = [None] * service.instances
        self.began_s = [math.nan] * len(at_s)
        self.done_s = [math.nan] * len(at_s)
        self.rejected = [False] * len(at_s)

    def run(self) -> tuple[list[float], list[float], list[bool]]:
        arriving = deque(range(len(self.at_s)))
        while True:
            end_s = min((e.phase_ends_s for e in self.executing if e), default=math.inf)
            arrival_s = self.at_s[arriving[0]] if arriving else math.inf
            now_s = min(end_s, self.wake_s, arrival_s)
            if now_s == math.inf:
                return self.began_s, self.done_s, self.rejected
            if end_s == now_s:
                self.phase_ends(now_s)
            elif self.wake_s == now_s:
                self.batch(now_s)
            else:
                self.arrive(arriving.popleft(), now_s)

    def arrive(self, request: int, now_s: float) -> None:
        if self.service.max_queue and len(self.queue) >= self.service.max_queue:
            self.rejected[request] = True
            return
        self.queue.append(request)
        if self.slot() and (self.saturated or self.current.taken or len(self.queue) >= self.wakes_at):
            self.batch(now_s)
        elif len(self.queue) == 1 and self.current.requests and not self.current.taken:
            self.wake_s = self.rest_s + (math.floor((now_s - self.rest_s) / 0.5) + 1) * 0.5

    def slot(self) -> bool:
        if self.service.max_queue:
            return None in self.executing
        return self.service.rate_limited or len(self.payloads) < 2 * self.service.instances

    def batch(self, now_s: float) -> None:
        self.wake_s = math.inf
        while True:
            if self.saturated or self.current.taken:
                self.current, self.saturated, self.wakes_at = Payload(), False, 0
            if not self.queue:
                self.rest_s = now_s
                return
            if not self.slot():
                return
            count, wait_until_s = self.examine(now_s)
            if wait_until_s is not None:
                self.wake_s = wait_until_s
                return
            if count:
                if not self.current.requests:
                    self.payloads.append(self.current)
                self.current.requests += [self.queue.popleft() for _ in range(count)]
                self.dispatch(now_s)

    def examine(self, now_s: float) -> tuple[int, float | None]:
        delay_s, largest = self.service.max_queue_delay_s, max(self.preferred)
        held, pending, best, send = len(self.current.requests), 0, 0, False
        while pending < len(self.queue):
            size = held + pending + 1
            if size > 1 and size > largest and best == 0:
                best, self.saturated = pending, True
            if size > 1 and size > self.service.max_batch:
                send = True
                break
            pending += 1
            if size in self.preferred:
                best = pending
        exceeded = delay_s > 0 and now_s >= self.at_s[self.queue[0]] + delay_s
        if best and not exceeded:
            self.saturated |= delay_s == 0
            return best, None
        if pending == 0:
            return 0, None
        if send or held + pending >= largest:
            self.saturated = True
            return pending, None
        if exceeded or delay_s == 0:
            return pending, None
        self.wakes_at = min(size for size in self.preferred if size > held + pending) - held
        if held and not self.saturated and held not in self.preferred:
            return pending, None
        return 0, self.at_s[self.queue[0]] + delay_s

    def dispatch(self, now_s: float) -> None:
        while self.payloads and None in self.executing:
            payload = self.payloads.popleft()
            payload.taken = True
            requests = list(payload.requests)
            joins = self.service.max_queue_delay_s > 0 and self.service.max_batch > 1 and not self.service.rate_limited
            while joins and self.payloads:
                behind = self.payloads[0]
                if now_s < self.at_s[behind.requests[0]] + self.service.max_queue_delay_s:
                    break
                behind.taken = True
                if len(requests) + len(behind.requests) > self.service.max_batch:
                    break
                requests += self.payloads.popleft().requests
            took_s = self.service.fixed_s + self.service.per_item_s * len(requests)
            alone_s = now_s + (1 - self.service.gpu_serial_share) * took_s
            execution = Execution(requests, alone_s, self.service.gpu_serial_share * took_s)
            self.executing[self.executing.index(None)] = execution
            for request in requests:
                self.began_s[request] = now_s

    def phase_ends(self, now_s: float) -> None:
        slot, ending = next((n, e) for n, e in enumerate(self.executing) if e and e.phase_ends_s == now_s)
        if ending.serial_s and not ending.has_gpu:
            if any(e and e.has_gpu for e in self.executing):
                ending.wants_gpu_since_s, ending.phase_ends_s = now_s, math.inf
            else:
                ending.has_gpu, ending.phase_ends_s = True, now_s + ending.serial_s
            return
        self.executing[slot] = None
        waiting = [e for e in self.executing if e and not e.has_gpu and e.wants_gpu_since_s < math.inf]
        if waiting:
            first = min(waiting, key=lambda e: e.wants_gpu_since_s)
            first.has_gpu, first.phase_ends_s = True, now_s + first.serial_s
        for request in ending.requests:
            self.done_s[request] = now_s
        self.dispatch(now_s)
        self.batch(now_s)
