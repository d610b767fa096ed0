"""The events of Triton-like servers, compiled: routing, instances and the GPU they share.

What happens at one moment happens in this order: batches end (by server, by instance), batchers that sleep wake,
servers become ready, requests come in. Between events nothing is kept in step with the clock, so that nothing depends
on when somebody looks.

Only `advance` is kept compiled. Numba notes changes of this file alone: after one of triton_batcher.py or
triton_state.py, touch it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from controlplane.sim.compiled import part
from controlplane.sim.triton_batcher import REST_S, next_batch, pop_payload, push_payload, slot_is_free
from controlplane.sim.triton_state import (
    ABSENT,
    COMPUTING,
    DRAINED,
    DRAINING,
    EMPTY,
    HAS_GPU,
    IDLE,
    NONE,
    READY,
    SCHEDULED,
    STALE,
    STARTING,
    WANTS_GPU,
    Array,
    State,
)


@part
def _append(queue: Any, behind: Array, request: int) -> None:
    behind[request] = NONE
    if queue.head == NONE:
        queue.head = request
    else:
        behind[queue.tail] = request
    queue.tail = request


@part
def _integrate(server: Any, now_s: float) -> None:
    server.outstanding_s += (server.running + server.waiting) * (now_s - server.since_s)
    server.since_s = now_s


@part
def _idle(instances: Array) -> int:
    for slot in range(instances.size):
        if instances[slot].phase == IDLE:
            return slot
    return NONE


@part
def _schedule(state: State, r: int) -> None:
    """Finds the server's next event."""
    next_s = state.servers[r].wake_s
    for slot in range(state.instances.shape[1]):
        if state.instances[r, slot].phase >= COMPUTING:
            next_s = min(next_s, state.instances[r, slot].next_s)
    state.next_s[r] = next_s


@part
def _dispatch(state: State, r: int, now_s: float) -> None:
    """Idle instances take payloads."""
    server, fit = state.servers[r], state.fit
    while server.payloads > 0:
        slot = _idle(state.instances[r])
        if slot == NONE:
            return
        first, size = pop_payload(state, r, now_s)
        if server.running == 0:
            server.busy_since_s = now_s
        server.running += size
        server.waiting -= size
        request = first
        for _ in range(size):
            state.began_s[request] = now_s
            state.batch[request] = size
            server.queue_s += now_s - state.sent_s[request]
            request = state.behind[request]
        server.head = request
        if request == NONE:
            server.tail = NONE
        instance, gateway = state.instances[r, slot], state.gateway[0]
        instance.phase, instance.head, instance.size, instance.began_s = COMPUTING, first, size, now_s
        instance.took_s = (fit.fixed_s + fit.per_item_s * size) * state.factors[gateway.batches % state.factors.size]
        instance.next_s = now_s + (1 - fit.gpu_serial_share) * instance.took_s
        gateway.batches += 1


@part
def _batch(state: State, r: int, now_s: float) -> None:
    """Triton's batcher thread, from one sleep to the next one."""
    server = state.servers[r]
    server.wake_s = np.inf
    while True:
        if server.saturated or server.payload == STALE:
            server.payload, server.payload_size, server.wakes_at, server.saturated = EMPTY, 0, 0, False
        if server.queued == 0:
            server.rest_s = now_s
            return
        if not slot_is_free(state, r):
            return
        size, wake_s = next_batch(state, r, now_s)
        if wake_s > now_s:
            server.wake_s = wake_s
            return
        if size > 0:
            push_payload(state, r, size)
            _dispatch(state, r, now_s)


@part
def _expect(state: State, due_s: float) -> None:
    """Puts an arrival among those to come, in order."""
    gateway = state.gateway[0]
    place = gateway.due
    while place > gateway.arrived and state.at_s[place - 1] > due_s:
        state.at_s[place] = state.at_s[place - 1]
        place -= 1
    state.at_s[place] = due_s
    gateway.due += 1


@part
def _count_latency(state: State, latency_s: float) -> None:
    bucket = 0
    while bucket < state.latency_edges_s.size and state.latency_edges_s[bucket] < latency_s:
        bucket += 1
    state.latency_counts[bucket] += 1


@part
def _complete(state: State, r: int, slot: int, now_s: float) -> None:
    """A batch is done: its instance goes if it is one too many, else takes the next payload; the batcher looks."""
    server, instance, gateway, fit = state.servers[r], state.instances[r, slot], state.gateway[0], state.fit
    _integrate(server, now_s)
    request, size = instance.head, instance.size
    for _ in range(size):
        state.done_s[request] = now_s
        _count_latency(state, now_s - state.at_s[request])
        request = state.behind[request]
        if fit.closed and gateway.due < state.at_s.size:
            _expect(state, now_s + state.client_s[gateway.due % state.client_s.size])
    server.running -= size
    server.completed += size
    gateway.completed += size
    state.executions[r, size - 1] += 1
    state.compute_s[r, size - 1] += now_s - instance.began_s
    if server.running == 0:
        server.busy_s += now_s - server.busy_since_s
    instance.phase = IDLE
    if server.present > server.wanted:
        instance.phase = ABSENT
        server.present -= 1
    _dispatch(state, r, now_s)
    _batch(state, r, now_s)
    if server.phase == DRAINING and server.running + server.waiting == 0:
        server.phase = DRAINED
        server.ended_s = now_s


@part
def _give_gpu(state: State, r: int, slot: int, now_s: float) -> None:
    state.servers[r].gpu_taken = True
    instance = state.instances[r, slot]
    instance.phase = HAS_GPU
    instance.next_s = now_s + state.fit.gpu_serial_share * instance.took_s


@part
def _release_gpu(state: State, r: int, now_s: float) -> None:
    """The GPU goes to the instance that has waited longest."""
    server, longest = state.servers[r], NONE
    server.gpu_taken = False
    for slot in range(state.instances.shape[1]):
        if state.instances[r, slot].phase == WANTS_GPU and (
            longest == NONE or state.instances[r, slot].since_s < state.instances[r, longest].since_s
        ):
            longest = slot
    if longest != NONE:
        _give_gpu(state, r, longest, now_s)


@part
def _event(state: State, r: int) -> None:
    """The server's next event: a part of an execution ends, the batcher's sleep does, or instances were changed."""
    server, now_s = state.servers[r], state.next_s[r]
    for slot in range(state.instances.shape[1]):
        instance = state.instances[r, slot]
        if instance.phase < COMPUTING or instance.next_s > now_s:
            continue
        if instance.phase == HAS_GPU:
            _release_gpu(state, r, now_s)
            _complete(state, r, slot, now_s)
        elif state.fit.gpu_serial_share == 0:
            _complete(state, r, slot, now_s)
        elif server.gpu_taken:
            instance.phase, instance.since_s, instance.next_s = WANTS_GPU, now_s, np.inf
        else:
            _give_gpu(state, r, slot, now_s)
        _schedule(state, r)
        return
    _dispatch(state, r, now_s)  # to instances that were added
    _batch(state, r, now_s)
    _schedule(state, r)


@part
def _accept(state: State, r: int, request: int, now_s: float) -> None:
    """A request reaches the server: it is refused by a full queue, or waits, and wakes the batcher or does not."""
    server, fit = state.servers[r], state.fit
    state.sent_to[request] = r
    state.sent_s[request] = now_s
    if 0 < fit.max_queue <= server.queued:
        server.rejected += 1
        state.gateway[0].rejected += 1
        state.rejected[request] = True
        return
    _integrate(server, now_s)
    _append(server, state.behind, request)
    server.arrived += 1
    server.waiting += 1
    if server.queued == 0:
        server.queue_head = request
    server.queued += 1
    awake = server.saturated or server.payload == STALE or server.queued >= server.wakes_at
    if awake and slot_is_free(state, r):
        _batch(state, r, now_s)
    elif server.payload == SCHEDULED and server.queued == 1:
        server.wake_s = server.rest_s + (np.floor((now_s - server.rest_s) / REST_S) + 1) * REST_S
    _schedule(state, r)


@part
def _send(state: State, request: int, now_s: float) -> None:
    """To the ready server with the fewest outstanding, of equals to the lowest id; else to the gateway's queue."""
    gateway = state.gateway[0]
    best, fewest = NONE, 0
    for index in range(gateway.live):
        server = state.servers[state.live[index]]
        if server.phase == READY:
            outstanding = server.running + server.waiting
            if best == NONE or outstanding < fewest:
                best, fewest = state.live[index], outstanding
    if best != NONE:
        _accept(state, best, request, now_s)
        return
    gateway.queued_s += gateway.queued * (now_s - gateway.since_s)
    gateway.since_s = now_s
    _append(gateway, state.behind, request)
    gateway.queued += 1


@part
def _become_ready(state: State, now_s: float) -> None:
    """Those that are ready by now take what the gateway has queued."""
    gateway = state.gateway[0]
    gateway.next_ready_s = np.inf
    for index in range(gateway.live):
        server = state.servers[state.live[index]]
        if server.phase == STARTING:
            if server.ready_s <= now_s:
                server.phase = READY
            else:
                gateway.next_ready_s = min(gateway.next_ready_s, server.ready_s)
    gateway.queued_s += gateway.queued * (now_s - gateway.since_s)
    gateway.since_s = now_s
    request = gateway.head
    gateway.head, gateway.queued = NONE, 0
    while request != NONE:
        following = state.behind[request]
        _send(state, request, now_s)
        request = following


@njit(cache=True)
def advance(state: State, until_s: float) -> None:
    """Everything that happens up to and at `until_s`."""
    gateway = state.gateway[0]
    while True:
        arrival_s = state.at_s[gateway.arrived] if gateway.arrived < state.at_s.size else np.inf
        now_s = min(until_s, arrival_s, gateway.next_ready_s)
        first = NONE
        for index in range(gateway.live):
            r = state.live[index]
            if state.next_s[r] <= now_s and (first == NONE or state.next_s[r] < state.next_s[first]):
                first = r
        if first != NONE:
            _event(state, first)
        elif gateway.next_ready_s <= now_s:
            _become_ready(state, now_s)
        elif arrival_s <= now_s:
            gateway.arrived += 1
            _send(state, gateway.arrived - 1, now_s)
        else:
            break
    kept = 0
    for index in range(gateway.live):
        if state.servers[state.live[index]].phase <= DRAINING:
            state.live[kept] = state.live[index]
            kept += 1
    gateway.live = kept
