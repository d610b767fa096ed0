"""How Triton's dynamic batcher forms batches, compiled.

After triton-inference-server/core, release 24.10 (and as of 2026-06 no different): dynamic_batch_scheduler.cc
(BatcherThread, GetDynamicBatch, Enqueue), instance_queue.cc (Dequeue), rate_limiter.cc (PayloadSlotAvailable). One
thread by model moves requests from the queue into a payload, payloads queue for instances, and an idle instance takes
the first payload. Threads are taken to act at once.

- Without a queue delay that is greedy: an idle instance takes up to `max_batch` of what waits, in order of arrival.
- With a queue delay a batch is put off until it has a preferred size or its oldest request has waited that long. While
  its payload then waits for an instance, later requests do not join it one by one: the thread is woken only when as
  many are queued as were missing for a preferred size, when an instance takes or ends a payload, or half a second after
  it last had nothing to do. And an instance that takes a payload joins to it those behind that are older than the delay
  and fit; the first that does not fit is frozen: nothing can be added to it any more. So batches are smaller than
  greedy ones under load.
- With a limit to the queue, payloads are made only for idle instances; what waits stays in the queue, which it limits.
- With `--rate-limit=execution_count` nothing is joined or frozen, and payloads are made without limit (by default:
  two for each instance).
"""

from __future__ import annotations

import numpy as np

from controlplane.sim.compiled import part
from controlplane.sim.triton_state import IDLE, NONE, SCHEDULED, STALE, State

REST_S = 0.5  # how long the batcher's thread sleeps with nothing to do


@part
def slot_is_free(state: State, r: int) -> bool:
    """Whether the batcher may fill payloads now."""
    server = state.servers[r]
    if state.fit.max_queue == 0:
        return state.fit.rate_limited or server.payloads < 2 * server.present
    return bool(np.any(state.instances[r]["phase"] == IDLE))


@part
def _examine(state: State, r: int) -> tuple[int, int, bool]:
    """How many queued requests fit the payload, at how many of them it has a preferred size (0: never), is it full."""
    server, preferred, largest = state.servers[r], state.preferred, state.fit.largest_preferred
    held, taken, best = server.payload_size, 0, 0
    for _ in range(server.queued):
        if held + taken > 0 and held + taken + 1 > largest and best == 0:
            best = taken
            server.saturated = True
        if held + taken + 1 > state.fit.max_batch:
            return taken, best, True
        taken += 1
        if preferred[held + taken]:
            best = taken
    return taken, best, held + taken >= largest


@part
def next_batch(state: State, r: int, now_s: float) -> tuple[int, float]:
    """How many queued requests join the batcher's payload now, or until when it waits for more (0 requests)."""
    server, preferred, delay_s = state.servers[r], state.preferred, state.fit.max_queue_delay_s
    held = server.payload_size
    taken, best, full = _examine(state, r)
    due_s = state.sent_s[server.queue_head] + delay_s
    overdue = delay_s > 0 and now_s >= due_s
    if best > 0 and not overdue:
        server.saturated |= delay_s == 0
        return best, now_s
    if taken == 0:
        return 0, now_s
    server.saturated |= full
    if full or overdue or delay_s == 0:
        return taken, now_s
    size = held + taken + 1
    while not preferred[size]:
        size += 1
    server.wakes_at = size - held
    if not server.saturated and held > 0 and not preferred[held]:
        return taken, now_s
    return 0, due_s


@part
def push_payload(state: State, r: int, size: int) -> None:
    """Moves queued requests into the batcher's payload, which queues for an instance if it does not yet."""
    server = state.servers[r]
    if server.payload != SCHEDULED:
        first = server.queue_head
        state.payload_size[first] = 0
        state.payload_behind[first] = NONE
        if server.payloads == 0:
            server.payload_head = first
        else:
            state.payload_behind[server.payload_tail] = first
        server.payload_tail = first
        server.payloads += 1
        server.payload = SCHEDULED
    state.payload_size[server.payload_tail] += size
    server.payload_size += size
    server.queued -= size
    for _ in range(size):
        server.queue_head = state.behind[server.queue_head]


@part
def pop_payload(state: State, r: int, now_s: float) -> tuple[int, int]:
    """The first request and the size of the payload that an instance takes, with those that it joins to it."""
    fit, server = state.fit, state.servers[r]
    first = server.payload_head
    size = state.payload_size[first]
    _drop_first(state, r)
    while server.payloads > 0 and fit.max_queue_delay_s > 0 and fit.max_batch > 1 and not fit.rate_limited:
        following = server.payload_head
        if now_s < state.sent_s[following] + fit.max_queue_delay_s:
            break
        if following == server.payload_tail and server.payload == SCHEDULED:
            server.payload = STALE
        if size + state.payload_size[following] > fit.max_batch:
            break
        size += state.payload_size[following]
        _drop_first(state, r)
    return first, size


@part
def _drop_first(state: State, r: int) -> None:
    server = state.servers[r]
    if server.payload_head == server.payload_tail and server.payload == SCHEDULED:
        server.payload = STALE
    server.payload_head = state.payload_behind[server.payload_head]
    server.payloads -= 1
