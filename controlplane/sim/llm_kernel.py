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

from controlplane.sim.llm_state import DRAINED, DRAINING, NONE, READY, STARTING, Array, State


@njit(cache=True)
def _count(edges_s: Array, counts: Array, value_s: float, times: int) -> None:
    bucket = 0
    while bucket < edges_s.size and value_s > edges_s[bucket]:
        bucket += 1
    counts[bucket] += times


@njit(cache=True)
def _append(queue: Any, behind: Array, request: int) -> None:
    behind[request] = NONE
    if queue.head == NONE:
        queue.head = request
    else:
        behind[queue.tail] = request
    queue.tail = request


@njit(cache=True)
def _integrate(replica: Any, now_s: float) -> None:
    replica.outstanding_s += (replica.running + replica.waiting) * (now_s - replica.since_s)
    replica.since_s = now_s


@njit(cache=True)
def _preempt(state: State, r: int, now_s: float) -> None:
    """Puts the newest member back to the front of the queue; what it has made is computed again with its prompt."""
    replica = state.replicas[r]
    replica.running -= 1
    request = state.members[r, replica.running]
    if replica.running < replica.decoding:
        replica.decoding -= 1
        state.made[request] = state.output[request] - (state.due[r, replica.running] - replica.decoded)
        state.token_s[request] = now_s
        replica.kv_used -= state.prompt[request] + state.made[request]
    else:
        replica.kv_used -= state.prompt[request] + state.made[request] + 1
    state.behind[request] = replica.head
    if replica.head == NONE:
        replica.tail = request
    replica.head = request
    replica.waiting += 1
    replica.preempted += 1


@njit(cache=True)
def _unread(state: State, r: int) -> int:
    tokens = 0
    for slot in range(state.replicas[r].decoding, state.replicas[r].running):
        tokens += state.due[r, slot]
    return tokens


@njit(cache=True)
def _admit(state: State, r: int) -> int:
    """Admits waiting requests while their prompts and this iteration's tokens fit; gives the prompt tokens to do."""
    fit, replica = state.fit, state.replicas[r]
    todo = _unread(state, r)
    room = fit.kv_tokens - replica.kv_used - replica.decoding
    while (
        replica.head != NONE and replica.running < fit.max_num_seqs and todo < fit.max_batched_tokens - replica.decoding
    ):
        request = replica.head
        tokens = state.prompt[request] + state.made[request]
        if tokens + 1 > room:
            break
        replica.head = state.behind[request]
        replica.waiting -= 1
        state.members[r, replica.running] = request
        state.due[r, replica.running] = tokens
        replica.running += 1
        replica.kv_used += tokens + 1
        room -= tokens + 1
        todo += tokens
    return todo


@njit(cache=True)
def _begin(state: State, r: int, now_s: float) -> None:
    """Plans the next segment, or lets the replica rest, or end where it drains."""
    fit, replica = state.fit, state.replicas[r]
    held = replica.running
    while replica.decoding > 0 and replica.kv_used + replica.decoding > fit.kv_tokens:
        _preempt(state, r, now_s)
    # who made room cannot come back before somebody is done: decoding takes in the next iteration what it has freed
    todo = _admit(state, r) if replica.running == held else _unread(state, r)
    replica.segment_s = now_s
    if replica.running == 0:
        replica.iterations = 0
        state.next_s[r] = np.inf
        if replica.phase == DRAINING:
            replica.phase = DRAINED
            replica.ended_s = now_s
        return
    replica.chunk = min(todo, fit.max_batched_tokens - replica.decoding)
    took_s, iterations = 0.0, 1
    if replica.decoding > 0:
        took_s = fit.itl_base_s + fit.itl_per_running_s * replica.decoding
    if replica.chunk > 0:
        took_s += max(fit.prefill_floor_s, fit.prefill_base_s + fit.prefill_per_token_s * replica.chunk)
    else:
        iterations = min(replica.first_due - replica.decoded, (fit.kv_tokens - replica.kv_used) // replica.decoding)
    replica.iteration_s = took_s
    replica.iterations = iterations
    state.next_s[r] = now_s + iterations * took_s


@njit(cache=True)
def _first_token(state: State, r: int, request: int, now_s: float) -> None:
    """A prompt is done, which gives a token: the first, or after a preemption the next."""
    replica = state.replicas[r]
    replica.generated_tokens += 1
    if state.made[request] > 0:
        gap_s = now_s - state.token_s[request]
        replica.itl_s_sum += gap_s
        _count(state.itl_edges_s, state.itl_counts[r], gap_s, 1)
    else:
        state.first_s[request] = now_s
        ttft_s = now_s - state.at_s[request]
        replica.prompt_tokens += state.prompt[request]
        replica.ttft_s_sum += ttft_s
        _count(state.ttft_edges_s, state.ttft_counts[r], ttft_s, 1)


@njit(cache=True)
def _complete(state: State, r: int, request: int, now_s: float) -> None:
    replica = state.replicas[r]
    state.done_s[request] = now_s
    replica.kv_used -= state.prompt[request] + state.output[request]
    replica.completed += 1
    state.gateway[0].completed += 1


@njit(cache=True)
def _end(state: State, r: int) -> None:
    """Ends the segment: tokens, first tokens, completions; and begins the next."""
    replica = state.replicas[r]
    now_s = state.next_s[r]
    iterations, decoding, held, chunk = replica.iterations, replica.decoding, replica.running, replica.chunk
    replica.busy_s += iterations * replica.iteration_s
    if decoding > 0:
        tokens = iterations * decoding
        replica.decoded += iterations
        replica.kv_used += tokens
        replica.generated_tokens += tokens
        replica.itl_s_sum += tokens * replica.iteration_s
        _count(state.itl_edges_s, state.itl_counts[r], replica.iteration_s, tokens)
    if chunk == 0 and replica.first_due > replica.decoded:
        _begin(state, r, now_s)
        return
    _integrate(replica, now_s)
    members, due = state.members[r], state.due[r]
    kept, decoders, first_due = 0, 0, np.iinfo(np.int64).max
    for slot in range(held):
        request, last = members[slot], due[slot]
        if slot >= decoding:
            taken = min(chunk, last)
            chunk -= taken
            last -= taken
            if last > 0:
                members[kept], due[kept] = request, last
                kept += 1
                continue
            _first_token(state, r, request, now_s)
            last = replica.decoded + state.output[request] - state.made[request] - 1
        if last == replica.decoded:
            _complete(state, r, request, now_s)
        else:
            members[kept], due[kept] = request, last
            kept += 1
            decoders += 1
            first_due = min(first_due, last)
    replica.running, replica.decoding, replica.first_due = kept, decoders, first_due
    _begin(state, r, now_s)


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
def _accept(state: State, r: int, request: int, now_s: float) -> None:
    fit, replica = state.fit, state.replicas[r]
    _integrate(replica, now_s)
    first = replica.head == NONE
    _append(replica, state.behind, request)
    replica.waiting += 1
    replica.arrived += 1
    state.sent_to[request] = r
    if replica.running == 0:
        _begin(state, r, now_s)
    elif first and replica.iterations > 1 and replica.running < fit.max_num_seqs:
        until = _boundary(replica, now_s) + 1
        needed = state.prompt[request] + state.made[request] + 1 + replica.decoding
        if replica.kv_used + until * replica.decoding + needed <= fit.kv_tokens:
            replica.iterations = until
            state.next_s[r] = replica.segment_s + until * replica.iteration_s


@njit(cache=True)
def _send(state: State, request: int, now_s: float) -> None:
    """To the ready replica with the fewest outstanding, of equals to the lowest id; else to the gateway's queue."""
    gateway = state.gateway[0]
    best, fewest = NONE, 0
    for index in range(gateway.live):
        replica = state.replicas[state.live[index]]
        if replica.phase == READY:
            outstanding = replica.running + replica.waiting
            if best == NONE or outstanding < fewest:
                best, fewest = state.live[index], outstanding
    if best != NONE:
        _accept(state, best, request, now_s)
        return
    gateway.queued_s += gateway.queued * (now_s - gateway.since_s)
    gateway.since_s = now_s
    _append(gateway, state.behind, request)
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
        for index in range(gateway.live):
            r = state.live[index]
            while state.next_s[r] <= now_s:
                _end(state, r)
        if gateway.next_ready_s <= now_s:
            _become_ready(state, now_s)
        elif arrival_s <= now_s:
            _send(state, gateway.arrived, now_s)
            gateway.arrived += 1
        else:
            break
    kept = 0
    for index in range(gateway.live):
        if state.replicas[state.live[index]].phase <= DRAINING:
            state.live[kept] = state.live[index]
            kept += 1
    gateway.live = kept


@njit(cache=True)
def send_again(state: State, requests: Array, now_s: float) -> None:
    """Routes requests whose replica failed as if they had just come in."""
    for request in requests:
        state.gateway[0].retried += 1
        state.made[request] = 0
        state.first_s[request] = np.nan
        state.sent_to[request] = NONE
        _send(state, request, now_s)


@njit(cache=True)
def look(state: State, now_s: float, rows: Array, itl_counts: Array) -> None:
    """Adds to copies of live replicas, and of their ITL counts, what their segments have done by `now_s`."""
    for index in range(rows.size):
        row = rows[index]
        _integrate(row, now_s)
        if row.running > 0:
            row.busy_s += now_s - row.segment_s
        if row.iterations > 1:
            tokens = _boundary(row, now_s) * row.decoding
            row.kv_used += tokens
            row.generated_tokens += tokens
            row.itl_s_sum += tokens * row.iteration_s
            _count(state.itl_edges_s, itl_counts[index], row.iteration_s, tokens)
