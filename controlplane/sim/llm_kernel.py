"""The events of vLLM-like replicas, compiled: iterations, admission, preemption, routing.

Between events nothing is kept in step with the clock. A replica has one segment under way: `iterations` equal ones
that began at `segment_s`. Equal are decode iterations up to the first completion, the end of the KV cache, or an
arrival that can be admitted, which cuts the segment at the next boundary. So a segment is one jump, and nothing depends
on when somebody looks.

What happens at one moment happens in this order: iterations end (and the next begin), replicas become ready, requests
come in. So a request that comes at the very end of an iteration waits for the end of the next one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from controlplane.sim.llm_state import DRAINED, DRAINING, NONE, READY, STARTING, Array, Fit, State
from controlplane.sim.signals import ITL_EDGES_S, TTFT_EDGES_S

_TTFT_EDGES_S = np.array(TTFT_EDGES_S)
_ITL_EDGES_S = np.array(ITL_EDGES_S)


@njit(cache=True)
def _bucket(edges_s: Array, value_s: float) -> int:
    bucket = 0
    while bucket < edges_s.size and value_s > edges_s[bucket]:
        bucket += 1
    return bucket


@njit(cache=True)
def _append(queue: Any, requests: Array, number: int) -> None:
    requests[number].behind = NONE
    if queue.head == NONE:
        queue.head = number
    else:
        requests[queue.tail].behind = number
    queue.tail = number


@njit(cache=True)
def _integrate(replica: Any, now_s: float) -> None:
    replica.outstanding_s += (replica.running + replica.waiting) * (now_s - replica.since_s)
    replica.since_s = now_s


@njit(cache=True)
def _preempt(requests: Array, seats: Array, replica: Any, now_s: float) -> None:
    """Puts the newest member back to the front of the queue; what it has made is computed again with its prompt."""
    replica.running -= 1
    seat = seats[replica.id, replica.running]
    request = requests[seat.request]
    if replica.running < replica.decoding:
        replica.decoding -= 1
        request.made = request.output - (seat.due - replica.decoded)
        request.token_s = now_s
        replica.kv_used -= request.prompt + request.made
    else:
        replica.kv_used -= request.prompt + request.made + 1
    request.behind = replica.head
    if replica.head == NONE:
        replica.tail = seat.request
    replica.head = seat.request
    replica.waiting += 1
    replica.preempted += 1


@njit(cache=True)
def _admit(fit: Fit, requests: Array, seats: Array, replica: Any) -> int:
    """Admits waiting requests while their prompts and this iteration's tokens fit; gives all prompt tokens to read."""
    unread = 0
    for slot in range(replica.decoding, replica.running):
        unread += seats[replica.id, slot].due
    room = fit.kv_tokens - replica.kv_used - replica.decoding
    most = fit.max_batched_tokens - replica.decoding
    while replica.head != NONE and replica.running < fit.max_num_seqs and unread < most:
        request = requests[replica.head]
        tokens = request.prompt + request.made
        if tokens + 1 > room:
            break
        seat = seats[replica.id, replica.running]
        seat.request, seat.due = replica.head, tokens
        replica.head = request.behind
        replica.waiting -= 1
        replica.running += 1
        replica.kv_used += tokens + 1
        room -= tokens + 1
        unread += tokens
    return unread


@njit(cache=True)
def _begin(fit: Fit, requests: Array, seats: Array, replica: Any, now_s: float) -> None:
    """Plans the next segment, or lets the replica rest, or end where it drains."""
    while replica.decoding > 0 and replica.kv_used + replica.decoding > fit.kv_tokens:
        _preempt(requests, seats, replica, now_s)
    # one that just made room does not fit before somebody is done: decoding takes what it freed. So no jump misses it
    unread = _admit(fit, requests, seats, replica)
    replica.segment_s = now_s
    if replica.running == 0:
        replica.iterations = 0
        replica.next_s = np.inf
        if replica.phase == DRAINING:
            replica.phase = DRAINED
            replica.ended_s = now_s
        return
    replica.chunk = min(unread, fit.max_batched_tokens - replica.decoding)
    took_s, iterations = 0.0, 1
    if replica.decoding > 0:
        took_s = fit.itl_base_s + fit.itl_per_running_s * replica.decoding
    if replica.chunk > 0:
        took_s += max(fit.prefill_floor_s, fit.prefill_base_s + fit.prefill_per_token_s * replica.chunk)
    else:
        iterations = min(replica.first_due - replica.decoded, (fit.kv_tokens - replica.kv_used) // replica.decoding)
    replica.iteration_s = took_s
    replica.iterations = iterations
    replica.next_s = now_s + iterations * took_s


@njit(cache=True)
def _first_token(replica: Any, request: Any, now_s: float) -> None:
    """A prompt is done, which gives a token: the first, or after a preemption the next."""
    replica.generated_tokens += 1
    if request.made > 0:
        gap_s = now_s - request.token_s
        replica.itl_s_sum += gap_s
        replica.itl_counts[_bucket(_ITL_EDGES_S, gap_s)] += 1
    else:
        request.first_s = now_s
        ttft_s = now_s - request.at_s
        replica.prompt_tokens += request.prompt
        replica.ttft_s_sum += ttft_s
        replica.ttft_counts[_bucket(_TTFT_EDGES_S, ttft_s)] += 1


@njit(cache=True)
def _decode(replica: Any, iterations: int) -> None:
    """Counts the tokens of so many of the segment's iterations."""
    tokens = iterations * replica.decoding
    replica.decoded += iterations
    replica.kv_used += tokens
    replica.generated_tokens += tokens
    replica.itl_s_sum += tokens * replica.iteration_s
    replica.itl_counts[_bucket(_ITL_EDGES_S, replica.iteration_s)] += tokens


@njit(cache=True)
def _end(fit: Fit, requests: Array, seats: Array, replica: Any) -> None:
    """Ends the segment: tokens, first tokens, completions; and begins the next."""
    now_s = replica.next_s
    decoding, chunk = replica.decoding, replica.chunk
    replica.busy_s += replica.iterations * replica.iteration_s
    _decode(replica, replica.iterations)
    if chunk == 0 and replica.first_due > replica.decoded:
        _begin(fit, requests, seats, replica, now_s)
        return
    _integrate(replica, now_s)
    kept, decoders, first_due = 0, 0, np.iinfo(np.int64).max
    for slot in range(replica.running):
        seat, to = seats[replica.id, slot], seats[replica.id, kept]
        number, due = seat.request, seat.due
        if slot >= decoding:
            taken = min(chunk, due)
            chunk -= taken
            if taken < due:
                to.request, to.due = number, due - taken
                kept += 1
                continue
            _first_token(replica, requests[number], now_s)
            due = replica.decoded + requests[number].output - requests[number].made - 1
        if due > replica.decoded:
            to.request, to.due = number, due
            kept += 1
            decoders += 1
            first_due = min(first_due, due)
        else:
            requests[number].done_s = now_s
            replica.kv_used -= requests[number].prompt + requests[number].output
            replica.completed += 1
    replica.running, replica.decoding, replica.first_due = kept, decoders, first_due
    _begin(fit, requests, seats, replica, now_s)


@njit(cache=True)
def _boundary(replica: Any, now_s: float) -> int:
    """Iterations of the segment that have ended by `now_s`."""
    ended = int((now_s - replica.segment_s) / replica.iteration_s)
    while replica.segment_s + (ended + 1) * replica.iteration_s <= now_s:
        ended += 1
    while ended > 0 and replica.segment_s + ended * replica.iteration_s > now_s:
        ended -= 1
    return ended


@njit(cache=True)
def _accept(fit: Fit, requests: Array, seats: Array, replica: Any, number: int, now_s: float) -> None:
    _integrate(replica, now_s)
    first = replica.head == NONE
    _append(replica, requests, number)
    replica.waiting += 1
    replica.arrived += 1
    request = requests[number]
    request.sent_to = replica.id
    if replica.running == 0:
        _begin(fit, requests, seats, replica, now_s)
    elif first and replica.iterations > 1 and replica.running < fit.max_num_seqs:
        until = _boundary(replica, now_s) + 1
        needed = request.prompt + request.made + 1 + replica.decoding
        if replica.kv_used + until * replica.decoding + needed <= fit.kv_tokens:
            replica.iterations = until
            replica.next_s = replica.segment_s + until * replica.iteration_s


@njit(cache=True)
def _send(state: State, number: int, now_s: float) -> None:
    """To the ready replica with the fewest outstanding, of equals to the lowest id; else to the gateway's queue."""
    fit, requests, gateways, live, replicas, seats = state
    gateway = gateways[0]
    best, fewest = NONE, 0
    for index in range(gateway.live):
        replica = replicas[live[index]]
        if replica.phase == READY:
            outstanding = replica.running + replica.waiting
            if best == NONE or outstanding < fewest:
                best, fewest = live[index], outstanding
    if best != NONE:
        _accept(fit, requests, seats, replicas[best], number, now_s)
        return
    gateway.queued_s += gateway.queued * (now_s - gateway.since_s)
    gateway.since_s = now_s
    _append(gateway, requests, number)
    gateway.queued += 1


@njit(cache=True)
def _become_ready(state: State, now_s: float) -> None:
    """Those that are ready by now take what the gateway has queued."""
    gateway = state.gateway[0]
    gateway.next_ready_s = np.inf
    for index in range(gateway.live):
        replica = state.replicas[state.live[index]]
        if replica.phase == STARTING:
            if replica.ready_s <= now_s:
                replica.phase = READY
            else:
                gateway.next_ready_s = min(gateway.next_ready_s, replica.ready_s)
    gateway.queued_s += gateway.queued * (now_s - gateway.since_s)
    gateway.since_s = now_s
    number = gateway.head
    gateway.head, gateway.queued = NONE, 0
    while number != NONE:
        behind = state.requests[number].behind
        _send(state, number, now_s)
        number = behind


@njit(cache=True)
def advance(state: State, until_s: float) -> None:
    """Everything that happens up to and at `until_s`."""
    fit, requests, gateways, live, replicas, seats = state
    gateway = gateways[0]
    while True:
        arrival_s = requests[gateway.arrived].at_s if gateway.arrived < requests.size else np.inf
        now_s = min(until_s, arrival_s, gateway.next_ready_s)
        for index in range(gateway.live):
            replica = replicas[live[index]]
            while replica.next_s <= now_s:
                _end(fit, requests, seats, replica)
        if gateway.next_ready_s <= now_s:
            _become_ready(state, now_s)
        elif arrival_s <= now_s:
            _send(state, gateway.arrived, now_s)
            gateway.arrived += 1
        else:
            break
    kept = 0
    for index in range(gateway.live):
        if replicas[live[index]].phase <= DRAINING:
            live[kept] = live[index]
            kept += 1
    gateway.live = kept


@njit(cache=True)
def send_again(state: State, numbers: Array, now_s: float) -> None:
    """Routes requests whose replica failed as if they had just come in."""
    for number in numbers:
        state.gateway[0].retried += 1
        request = state.requests[number]
        request.made, request.first_s, request.sent_to = 0, np.nan, NONE
        _send(state, number, now_s)


@njit(cache=True)
def look(rows: Array, now_s: float) -> None:
    """Adds to copies of replicas what their segments have done by `now_s`."""
    for index in range(rows.size):
        row = rows[index]
        _integrate(row, now_s)
        if row.running > 0:
            row.busy_s += now_s - row.segment_s
        if row.iterations > 1:
            _decode(row, _boundary(row, now_s))
