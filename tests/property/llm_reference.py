"""vLLM-like replicas again, written for reading: every iteration is one step, every sum is taken anew."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from controlplane.sim.service import LlmService
from controlplane.sim.trace import Requests


@dataclass(eq=False)
class Asked:
    """One request and what became of it."""

    number: int
    at_s: float
    prompt: int
    output: int
    made: int = 0
    first_s: float = math.nan
    last_s: float = math.nan
    done_s: float = math.nan


@dataclass(eq=False)
class Member:
    """A request that executes; `left` prompt tokens are to be read before it decodes."""

    asked: Asked
    left: int

    @property
    def kv(self) -> int:
        return self.asked.prompt + self.asked.made + (1 if self.left else 0)


@dataclass(eq=False)
class Replica:
    """One server."""

    id: int
    started_s: float
    ready_s: float
    phase: str = "starting"
    ended_s: float = math.inf
    ends_s: float = math.inf
    began_s: float = math.nan
    chunk: int = 0
    members: list[Member] = field(default_factory=list)
    queue: deque[Asked] = field(default_factory=deque)
    busy_s: float = 0.0
    arrived: int = 0
    preempted: int = 0
    ttfts_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    completed: int = 0

    @property
    def outstanding(self) -> int:
        return len(self.members) + len(self.queue)

    @property
    def kv(self) -> int:
        return sum(member.kv for member in self.members)


class Reference:
    """A pool with the same calls as LlmPool."""

    def __init__(self, service: LlmService, requests: Requests, replicas: int) -> None:
        rows = zip(
            requests.at_s.tolist(), requests.prompt_tokens.tolist(), requests.output_tokens.tolist(), strict=True
        )
        self.all = [Asked(number, *row) for number, row in enumerate(rows)]
        self.service = service
        self.coming = deque(self.all)
        self.queue: deque[Asked] = deque()
        self.replicas = [Replica(number, 0.0, 0.0, phase="ready") for number in range(replicas)]

    def live(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.phase != "ended"]

    def advance(self, until_s: float) -> None:
        while True:
            ends = [(replica.ends_s, 0, replica.id) for replica in self.live()]
            readies = [(replica.ready_s, 1, replica.id) for replica in self.live() if replica.phase == "starting"]
            arrivals = [(asked.at_s, 2, 0) for asked in [*self.coming][:1]]
            at_s, kind, number = min([*ends, *readies, *arrivals], default=(math.inf, 0, 0))
            if not (at_s <= until_s and at_s < math.inf):
                return
            if kind == 0:
                self._end_iteration(self.replicas[number])
            elif kind == 1:
                for replica in self.live():
                    if replica.phase == "starting" and replica.ready_s <= at_s:
                        replica.phase = "ready"
                held, self.queue = self.queue, deque()
                for asked in held:
                    self._send(asked, at_s)
            else:
                self._send(self.coming.popleft(), at_s)

    def start(self, now_s: float, ready_s: float) -> None:
        self.advance(now_s)
        self.replicas.append(Replica(len(self.replicas), now_s, ready_s))
        self.advance(now_s)

    def drain(self, number: int, now_s: float) -> None:
        self.advance(now_s)
        replica = self.replicas[number]
        if replica.outstanding:
            replica.phase = "draining"
        else:
            replica.phase, replica.ended_s = "ended", now_s

    def fail(self, number: int, now_s: float) -> None:
        self.advance(now_s)
        replica = self.replicas[number]
        replica.phase, replica.ended_s, replica.ends_s = "ended", now_s, math.inf
        lost = [*(member.asked for member in replica.members), *replica.queue]
        for asked in sorted(lost, key=lambda asked: asked.number):
            asked.made, asked.first_s = 0, math.nan
            self._send(asked, now_s)

    def _send(self, asked: Asked, now_s: float) -> None:
        ready = [replica for replica in self.live() if replica.phase == "ready"]
        if not ready:
            self.queue.append(asked)
            return
        replica = min(ready, key=lambda replica: (replica.outstanding, replica.id))
        replica.arrived += 1
        replica.queue.append(asked)
        if not replica.members:
            self._begin_iteration(replica, now_s)

    def _begin_iteration(self, replica: Replica, now_s: float) -> None:
        service, members = self.service, replica.members
        preempted = False
        while any(not m.left for m in members) and replica.kv + sum(not m.left for m in members) > service.kv_tokens:
            replica.queue.appendleft(members.pop().asked)
            replica.preempted += 1
            preempted = True
        decoding = sum(not member.left for member in members)
        room = service.max_batched_tokens - decoding
        while replica.queue and not preempted and len(members) < service.max_num_seqs:
            asked = replica.queue[0]
            newcomer = Member(asked, asked.prompt + asked.made)
            reading = sum(member.left for member in members)
            if reading >= room or replica.kv + decoding + newcomer.kv > service.kv_tokens:
                break
            members.append(newcomer)
            replica.queue.popleft()
        if not members:
            replica.ends_s = math.inf
            if replica.phase == "draining":
                replica.phase, replica.ended_s = "ended", now_s
            return
        replica.chunk = min(room, sum(member.left for member in members))
        took_s = service.itl_base_s + service.itl_per_running_s * decoding if decoding else 0.0
        if replica.chunk:
            line_s = service.prefill_base_s + service.prefill_per_token_s * replica.chunk
            took_s += max(service.prefill_floor_s, line_s)
        replica.began_s, replica.ends_s = now_s, now_s + took_s

    def _end_iteration(self, replica: Replica) -> None:
        now_s = replica.ends_s
        replica.busy_s += now_s - replica.began_s
        for member in [*replica.members]:
            asked = member.asked
            taken = min(member.left, replica.chunk)
            if member.left:
                replica.chunk -= taken
                member.left -= taken
                if member.left:
                    continue
            asked.made += 1
            if asked.made == 1:
                asked.first_s = now_s
                replica.ttfts_s.append(now_s - asked.at_s)
            else:
                replica.gaps_s.append(now_s - asked.last_s)
            asked.last_s = now_s
            if asked.made == asked.output:
                asked.done_s = now_s
                replica.completed += 1
                replica.members.remove(member)
        self._begin_iteration(replica, now_s)
