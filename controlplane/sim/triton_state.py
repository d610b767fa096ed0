"""What changes in a pool of Triton-like servers, in arrays that the compiled kernel works on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from controlplane.sim.service import BatchService

Array = npt.NDArray[Any]

STARTING, READY, DRAINING, DRAINED, FAILED = 0, 1, 2, 3, 4
ABSENT, IDLE, COMPUTING, WANTS_GPU, HAS_GPU = 0, 1, 2, 3, 4
EMPTY, SCHEDULED, STALE = 0, 1, 2
NONE = -1

SERVER = np.dtype(
    [
        *((name, np.float64) for name in ("started_s", "ready_s", "ended_s")),
        *((name, np.int64) for name in ("phase", "wanted", "present")),
        # requests that wait, by `behind`: first those in payloads, then those in the batcher's queue
        *((name, np.int64) for name in ("head", "tail", "waiting", "queue_head", "queued")),
        # payloads that no instance has taken yet
        *((name, np.int64) for name in ("payload_head", "payload_tail", "payloads")),
        # the batcher: its payload, how many requests wake it, until when it sleeps, since when with nothing to do
        *((name, np.int64) for name in ("payload", "payload_size", "wakes_at")),
        ("saturated", np.bool_),
        *((name, np.float64) for name in ("wake_s", "rest_s")),
        ("gpu_taken", np.bool_),
        # cumulative; outstanding_s up to since_s, busy_s without what has run since busy_since_s
        *((name, np.float64) for name in ("since_s", "outstanding_s", "busy_since_s", "busy_s", "queue_s")),
        *((name, np.int64) for name in ("running", "arrived", "completed", "rejected")),
    ]
)
INSTANCE = np.dtype(
    [
        *((name, np.int64) for name in ("phase", "head", "size")),
        *((name, np.float64) for name in ("began_s", "took_s", "since_s", "next_s")),
    ]
)
GATEWAY = np.dtype(
    [
        ("next_ready_s", np.float64),
        *((name, np.int64) for name in ("live", "arrived", "due", "retried", "completed", "rejected", "batches")),
        *((name, np.int64) for name in ("head", "tail", "queued")),
        *((name, np.float64) for name in ("since_s", "queued_s")),
    ]
)


class Fit(NamedTuple):
    """BatchService as the kernel is compiled for it. `closed`: an answer brings a request (BatchPool.closed)."""

    fixed_s: float
    per_item_s: float
    max_batch: int
    largest_preferred: int
    max_queue_delay_s: float
    max_queue: int
    gpu_serial_share: float
    rate_limited: bool
    closed: bool


class State(NamedTuple):
    """By request: `at_s` to `payload_behind`, the last two by the first request of a payload. By server: the rest.

    `preferred` has True at every preferred batch size. `factors`: the n-th batch of the pool takes the n-th of them
    (and again from the first) times what the line says; `client_s` likewise, from an answer to the n-th request.
    `latency_counts`: requests done by seconds since they arrived, in buckets over `latency_edges_s` and one above.
    `live`: servers that have not ended. `next_s`: next event.
    """

    fit: Fit
    preferred: Array
    factors: Array
    client_s: Array
    gateway: Array
    latency_edges_s: Array
    latency_counts: Array
    at_s: Array
    sent_s: Array
    began_s: Array
    done_s: Array
    batch: Array
    sent_to: Array
    rejected: Array
    behind: Array
    payload_size: Array
    payload_behind: Array
    live: Array
    servers: Array
    next_s: Array
    instances: Array
    executions: Array
    compute_s: Array


def fresh(
    service: BatchService,
    at_s: Array,
    factors: Array,
    client_s: Array | None,
    servers: int,
    latency_edges_s: tuple[float, ...],
) -> State:
    """A pool with room for `servers`, none of them started."""
    requests = len(at_s)
    preferred = np.zeros(service.max_batch + 1, np.bool_)
    preferred[list(service.preferred_sizes or (service.max_batch,))] = True
    gateway = np.zeros(1, GATEWAY)
    gateway["next_ready_s"], gateway["head"], gateway["tail"] = np.inf, NONE, NONE
    gateway["due"] = int(np.sum(np.isfinite(at_s)))
    empty = State(
        fit=Fit(
            fixed_s=float(service.fixed_s),
            per_item_s=float(service.per_item_s),
            max_batch=service.max_batch,
            largest_preferred=max(service.preferred_sizes or (service.max_batch,)),
            max_queue_delay_s=float(service.max_queue_delay_s),
            max_queue=service.max_queue,
            gpu_serial_share=float(service.gpu_serial_share),
            rate_limited=service.rate_limited,
            closed=client_s is not None,
        ),
        preferred=preferred,
        factors=factors,
        client_s=np.zeros(1) if client_s is None else client_s,
        gateway=gateway,
        latency_edges_s=np.array(latency_edges_s),
        latency_counts=np.zeros(len(latency_edges_s) + 1, np.int64),
        at_s=at_s,
        sent_s=np.full(requests, np.nan),
        began_s=np.full(requests, np.nan),
        done_s=np.full(requests, np.nan),
        batch=np.zeros(requests, np.int32),
        sent_to=np.full(requests, NONE, np.int32),
        rejected=np.zeros(requests, np.bool_),
        behind=np.full(requests, NONE, np.int64),
        payload_size=np.zeros(requests, np.int64),
        payload_behind=np.full(requests, NONE, np.int64),
        live=np.zeros(0, np.int64),
        servers=np.zeros(0, SERVER),
        next_s=np.zeros(0),
        instances=np.zeros((0, service.instances), INSTANCE),
        executions=np.zeros((0, service.max_batch), np.int64),
        compute_s=np.zeros((0, service.max_batch)),
    )
    return with_room(empty, servers, service.instances)


def with_room(state: State, servers: int, instances: int) -> State:
    """The same state with room for so many servers and instances on each, which are no fewer than before."""

    def roomy(array: Any, *shape: int) -> Any:
        room = np.zeros((servers, *shape), array.dtype)
        room[(slice(len(array)), *(slice(width) for width in array.shape[1:]))] = array
        return room

    with_more = state._replace(
        live=roomy(state.live),
        servers=roomy(state.servers),
        next_s=roomy(state.next_s),
        instances=roomy(state.instances, instances),
        executions=roomy(state.executions, state.fit.max_batch),
        compute_s=roomy(state.compute_s, state.fit.max_batch),
    )
    new = with_more.servers[len(state.servers) :]
    new["ended_s"] = new["wake_s"] = math.inf
    for name in ("head", "tail", "queue_head", "payload_head", "payload_tail"):
        new[name] = NONE
    with_more.next_s[len(state.servers) :] = math.inf
    return with_more
