"""A simulated pool of Triton-like servers of one model, behind a gateway that routes to the least outstanding one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from controlplane.sim import triton_kernel as kernel
from controlplane.sim import triton_state as layout
from controlplane.sim.results import ReplicaLife, Results, Seconds
from controlplane.sim.service import BatchService
from controlplane.sim.signals import LATENCY_EDGES_S, Counts, Phase, ReplicaSignals, Signals
from controlplane.sim.trace import Requests

_PHASES: dict[int, Phase] = {layout.STARTING: "starting", layout.READY: "ready", layout.DRAINING: "draining"}
_ENDS: dict[int, Literal["drained", "failed", "not ended"]] = {layout.DRAINED: "drained", layout.FAILED: "failed"}
_READ = ["started_s", "ready_s", "running", "waiting", "arrived", "completed", "outstanding_s", "busy_s"]
_READ += ["queue_s", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSignals(ReplicaSignals):
    """What Triton's statistics say besides; the first of the arrays is about batches of one request.

    `instances` are there (also those that go when idle). `pending`: as nv_inference_pending_request_count, what waits.
    `executions` and `compute_s`: ended batches and their seconds, by size (`batch_stats`), time in which they waited
    for the shared GPU included. `queue_s`: seconds that requests waited before their batch began. `rejected`: by the
    full queue; a real Triton counts these nowhere.
    """

    instances: int
    pending: int
    executions: Counts
    compute_s: Seconds
    queue_s: float
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResults(Results):
    """By request besides: seconds in the server's queue and in its batch (nan: not yet), its size (0), and refusals."""

    queue_s: Seconds
    compute_s: Seconds
    batch: npt.NDArray[np.int32]
    rejected: npt.NDArray[np.bool_]


class BatchPool:
    """Servers with instances that execute batches (see BatchService, triton_kernel, triton_batcher), virtual seconds.

    The gateway sends a request to the ready server with the fewest outstanding, of equals to the lowest id, for good;
    while none is ready it queues, first come first served. A server that refuses a request (`max_queue`) ends it.
    To load the model onto a server is `start`, to unload it `drain`: what is queued is served. Nothing is drawn in
    here: the same calls give the same results to the bit, however time is cut into advances.

    With `max_batch` 1 a server is a G/G/c queue of c instances. Every call takes the moment it is made, which may not
    lie before the last one (ValueError).
    """

    def __init__(
        self,
        service: BatchService,
        requests: Requests,
        *,
        replicas: int,
        factors: Seconds | None = None,
        latency_edges_s: tuple[float, ...] = LATENCY_EDGES_S,
        _client_s: Seconds | None = None,
    ) -> None:
        """`replicas` servers are ready from 0 on. `latency_edges_s`: of the gateway's histogram, ascending.

        `factors`: the n-th batch that the pool begins takes the n-th of them (again from the first when they are used
        up) times what its size says; without them exactly that.
        """
        given = np.ones(1) if factors is None else np.asarray(factors, np.float64)
        if not len(given) or not np.all(given > 0):
            raise ValueError("factors of batch times; at least one, each above 0")
        self._service = service
        self._now_s = 0.0
        self._servers = 0
        self._edges_s = latency_edges_s
        self._state = layout.fresh(service, requests.at_s.copy(), given, _client_s, max(replicas, 4), latency_edges_s)
        for _ in range(replicas):
            self.start(0.0, 0.0)

    @classmethod
    def closed(
        cls,
        service: BatchService,
        *,
        clients: int,
        requests: int,
        client_s: Seconds,
        factors: Seconds | None = None,
        replicas: int = 1,
    ) -> Self:
        """A closed loop: after each answer some client sends the next request, `requests` in all.

        `client_s`: seconds from an answer to the next request; the n-th request takes the n-th of them (again from the
        first when they are used up). Raises ValueError with a limit to the queue: a refusal has no answer.
        """
        if service.max_queue or not 0 < clients <= requests or not len(client_s) or np.min(client_s) < 0:
            raise ValueError(
                f"{clients} clients with {requests} requests and {len(client_s)} times between, {service.max_queue} may"
                " queue; at least a client, a request for each, a time of at least 0 s, and no limit"
            )
        at_s = np.full(requests, math.inf)
        at_s[:clients] = 0.0
        one = np.ones(requests, np.int32)
        with np.errstate(invalid="ignore"):  # inf - inf, of requests that are not due yet
            requests_due = Requests(at_s, one, one)
        return cls(
            service, requests_due, replicas=replicas, factors=factors, _client_s=np.asarray(client_s, np.float64)
        )

    def advance(self, until_s: float) -> None:
        """Everything up to and at `until_s`."""
        if not until_s >= self._now_s:
            raise ValueError(f"{until_s} s lies before {self._now_s} s, up to which all has happened")
        kernel.advance(self._state, float(until_s))
        self._now_s = until_s

    def start(self, now_s: float, ready_s: float) -> int:
        """A new server, billed from `now_s`, that takes traffic from `ready_s` (inf: never); gives its id."""
        if not ready_s >= now_s:
            raise ValueError(f"ready at {ready_s} s, before its start at {now_s} s")
        self.advance(now_s)
        if self._servers == len(self._state.servers):
            self._state = layout.with_room(self._state, 2 * self._servers, self._state.instances.shape[1])
        state, gateway, server = self._state, self._state.gateway[0], self._servers
        row = state.servers[server]
        row["started_s"] = row["since_s"] = row["rest_s"] = now_s
        row["ready_s"] = ready_s
        row["wanted"] = row["present"] = self._service.instances
        state.instances[server, : self._service.instances]["phase"] = layout.IDLE
        state.live[gateway["live"]] = server
        gateway["live"] += 1
        gateway["next_ready_s"] = min(gateway["next_ready_s"], ready_s)
        self._servers += 1
        if ready_s <= now_s:
            self.advance(now_s)
        return server

    def resize(self, replica: int, instances: int, now_s: float) -> None:
        """Changes a server's instances in place: added ones serve at once, those too many go when they are idle.

        What a real one takes to add instances (0.2 to 0.4 s, python backend) is for the caller to wait before.
        """
        if instances < 1:
            raise ValueError(f"{instances} instances; at least 1")
        self._living(replica, now_s)
        if instances > self._state.instances.shape[1]:
            self._state = layout.with_room(self._state, len(self._state.servers), instances)
        row, phases = self._state.servers[replica], self._state.instances[replica]["phase"]
        more = instances - int(row["present"])
        changed = np.flatnonzero(phases == (layout.ABSENT if more > 0 else layout.IDLE))[: abs(more)]
        phases[changed] = layout.IDLE if more > 0 else layout.ABSENT
        row["present"] += len(changed) if more > 0 else -len(changed)
        row["wanted"] = instances
        self._state.next_s[replica] = now_s
        self.advance(now_s)

    def drain(self, replica: int, now_s: float) -> None:
        """It takes no new requests and ends with its last one; one that starts, or has none, ends at once."""
        row = self._living(replica, now_s)
        if row["phase"] == layout.READY and row["running"] + row["waiting"]:
            row["phase"] = layout.DRAINING
        elif row["phase"] != layout.DRAINING:
            self._end(replica, layout.DRAINED)

    def fail(self, replica: int, now_s: float) -> None:
        """It dies with what it executes; its requests come to the gateway again, in the order of their arrival."""
        row = self._living(replica, now_s)
        state = self._state
        starts = [int(row["head"])] if row["waiting"] else []
        counts = [int(row["waiting"])] if row["waiting"] else []
        for instance in state.instances[replica]:
            if instance["phase"] >= layout.COMPUTING:
                starts.append(int(instance["head"]))
                counts.append(int(instance["size"]))
        lost = []
        for request, count in zip(starts, counts, strict=True):
            following = request
            for _ in range(count):
                lost.append(following)
                following = int(state.behind[following])
        row["outstanding_s"] += len(lost) * (now_s - row["since_s"])
        if row["running"]:
            row["busy_s"] += now_s - row["busy_since_s"]
        row["running"] = row["waiting"] = 0
        self._end(replica, layout.FAILED)
        self._queue_again(sorted(lost))

    def signals(self, now_s: float) -> Signals:
        """What a collector could know now."""
        self.advance(now_s)
        state, gateway = self._state, self._state.gateway[0]
        live = state.live[: gateway["live"]]
        rows = state.servers[live]
        rows["outstanding_s"] += (rows["running"] + rows["waiting"]) * (now_s - rows["since_s"])
        rows["busy_s"] += np.where(rows["running"] > 0, now_s - rows["busy_since_s"], 0.0)
        return Signals(
            at_s=now_s,
            queued=int(gateway["queued"]),
            arrived=int(gateway["arrived"]),
            completed=int(gateway["completed"]),
            retried=int(gateway["retried"]),
            rejected=int(gateway["rejected"]),
            latency_counts=state.latency_counts.copy(),
            latency_edges_s=self._edges_s,
            replicas=tuple(
                ServerSignals(
                    id=server,
                    phase=_PHASES[phase],
                    instances=instances,
                    pending=pending,
                    executions=executions,
                    compute_s=compute_s,
                    **dict(zip(_READ, row, strict=True)),
                )
                for server, (phase, instances, pending), row, executions, compute_s in zip(
                    live.tolist(),
                    rows[["phase", "present", "waiting"]].tolist(),
                    rows[_READ].tolist(),
                    state.executions[live],
                    state.compute_s[live],
                    strict=True,
                )
            ),
        )

    def results(self) -> BatchResults:
        """What came of it up to the last call."""
        state, gateway, rows = self._state, self._state.gateway[0], self._state.servers[: self._servers]
        in_system_s = [gateway["queued_s"], gateway["queued"] * (self._now_s - gateway["since_s"])]
        in_system_s += [
            *rows["outstanding_s"],
            *((rows["running"] + rows["waiting"]) * (self._now_s - rows["since_s"])),
        ]
        e2e_s = state.done_s - state.at_s
        return BatchResults(
            at_s=self._now_s,
            ttft_s=e2e_s,
            mean_itl_s=np.full(len(e2e_s), math.nan),
            e2e_s=e2e_s,
            replica=state.sent_to.copy(),
            lives=tuple(self._life(server, row) for server, row in enumerate(rows)),
            gpus=self._service.gpus,
            in_system_s=math.fsum(in_system_s),
            queue_s=state.began_s - state.sent_s,
            compute_s=state.done_s - state.began_s,
            batch=state.batch.copy(),
            rejected=state.rejected.copy(),
        )

    def _queue_again(self, requests: list[int]) -> None:
        state, gateway = self._state, self._state.gateway[0]
        if not requests:
            return
        state.sent_s[requests] = state.began_s[requests] = math.nan
        state.batch[requests], state.sent_to[requests] = 0, layout.NONE
        state.behind[requests] = [*requests[1:], layout.NONE]
        if gateway["queued"]:
            state.behind[gateway["tail"]] = requests[0]
        else:
            gateway["head"] = requests[0]
        gateway["tail"] = requests[-1]
        gateway["queued_s"] += gateway["queued"] * (self._now_s - gateway["since_s"])
        gateway["since_s"] = gateway["next_ready_s"] = self._now_s  # the queue is looked through at once
        gateway["queued"] += len(requests)
        gateway["retried"] += len(requests)
        self.advance(self._now_s)

    @staticmethod
    def _life(server: int, row: Any) -> ReplicaLife:
        end = _ENDS.get(int(row["phase"]), "not ended")
        return ReplicaLife(server, float(row["started_s"]), float(row["ready_s"]), float(row["ended_s"]), end)

    def _living(self, replica: int, now_s: float) -> Any:
        self.advance(now_s)
        if not 0 <= replica < self._servers or self._state.servers[replica]["phase"] > layout.DRAINING:
            raise ValueError(f"server {replica} does not run at {now_s} s")
        return self._state.servers[replica]

    def _end(self, replica: int, phase: int) -> None:
        state, gateway, row = self._state, self._state.gateway[0], self._state.servers[replica]
        row["phase"], row["ended_s"], row["since_s"] = phase, self._now_s, self._now_s
        state.next_s[replica] = math.inf
        live = state.live[: gateway["live"]]
        rest = live[live != replica]
        live[: len(rest)] = rest
        gateway["live"] = len(rest)
        starting = state.servers[rest]["phase"] == layout.STARTING
        gateway["next_ready_s"] = np.min(state.servers[rest]["ready_s"][starting], initial=math.inf)
