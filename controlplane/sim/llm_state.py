"""What the kernel of vLLM-like replicas works on: arrays of records, in which requests and replicas are numbers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from controlplane.sim.service import LlmService
from controlplane.sim.signals import ITL_EDGES_S, TTFT_EDGES_S
from controlplane.sim.trace import Requests

Array = npt.NDArray[Any]

STARTING, READY, DRAINING, DRAINED, FAILED = 0, 1, 2, 3, 4
NONE = -1

REQUEST = np.dtype(
    [
        *((name, np.float64) for name in ("at_s", "first_s", "done_s")),
        *((name, np.int64) for name in ("prompt", "output")),
        # tokens from before a preemption, and when the last of them came
        ("made", np.int64),
        ("token_s", np.float64),
        # the replica it was last sent to, and the request behind it in the queue it is in
        *((name, np.int64) for name in ("sent_to", "behind")),
    ]
)
SEAT = np.dtype(
    [
        ("request", np.int64),
        # decoding: its replica's `decoded` when its last token comes; else: prompt tokens that are left to read
        ("due", np.int64),
    ]
)
REPLICA = np.dtype(
    [
        *((name, np.int64) for name in ("id", "phase")),
        *((name, np.float64) for name in ("started_s", "ready_s", "ended_s")),
        # the segment: decoding requests get a token in each iteration, `chunk` prompt tokens are in its only one
        *((name, np.float64) for name in ("segment_s", "iteration_s", "next_s")),
        *((name, np.int64) for name in ("iterations", "chunk", "running", "decoding", "kv_used")),
        # decode iterations since the start, and at how many of them the first request is done
        *((name, np.int64) for name in ("decoded", "first_due")),
        # its own queue: first and last request, how many
        *((name, np.int64) for name in ("head", "tail", "waiting")),
        # cumulative, up to the segment's begin; outstanding_s up to since_s
        *((name, np.float64) for name in ("since_s", "outstanding_s", "busy_s", "ttft_s_sum", "itl_s_sum")),
        *((name, np.int64) for name in ("arrived", "completed", "prompt_tokens", "generated_tokens", "preempted")),
        ("ttft_counts", np.int64, len(TTFT_EDGES_S) + 1),
        ("itl_counts", np.int64, len(ITL_EDGES_S) + 1),
    ]
)
GATEWAY = np.dtype(
    [
        ("next_ready_s", np.float64),
        *((name, np.int64) for name in ("live", "arrived", "retried")),
        *((name, np.int64) for name in ("head", "tail", "queued")),
        *((name, np.float64) for name in ("since_s", "queued_s")),
    ]
)


class Fit(NamedTuple):
    """LlmService in the order that the kernel is compiled for."""

    itl_base_s: float
    itl_per_running_s: float
    prefill_base_s: float
    prefill_per_token_s: float
    prefill_floor_s: float
    kv_tokens: int
    max_num_seqs: int
    max_batched_tokens: int


class State(NamedTuple):
    """Everything that changes.

    `seats` are those of a replica's running requests, in the order they were admitted: first those that decode. `live`
    holds the ids of replicas that have not ended, rising. `gateway` is one record.
    """

    fit: Fit
    requests: Array
    gateway: Array
    live: Array
    replicas: Array
    seats: Array


def fresh(service: LlmService, requests: Requests, replicas: int) -> State:
    """Nothing has happened; room for so many replicas."""
    rows = np.zeros(len(requests), REQUEST)
    rows["at_s"], rows["prompt"], rows["output"] = requests.at_s, requests.prompt_tokens, requests.output_tokens
    rows["first_s"] = rows["done_s"] = math.nan
    rows["sent_to"] = rows["behind"] = NONE
    gateway = np.zeros(1, GATEWAY)
    gateway["next_ready_s"], gateway["head"] = math.inf, NONE
    empty = State(
        fit=Fit(*(getattr(service, name) for name in Fit._fields)),
        requests=rows,
        gateway=gateway,
        live=np.zeros(0, np.int64),
        replicas=np.zeros(0, REPLICA),
        seats=np.zeros((0, service.max_num_seqs), SEAT),
    )
    return with_room(empty, replicas)


def with_room(state: State, replicas: int) -> State:
    """The same state with room for so many replicas."""

    def longer(array: Array) -> Array:
        room = np.zeros((replicas, *array.shape[1:]), array.dtype)
        room[: len(array)] = array
        return room

    had = len(state.replicas)
    state = state._replace(live=longer(state.live), replicas=longer(state.replicas), seats=longer(state.seats))
    new = state.replicas[had:]
    new["id"], new["head"] = np.arange(had, replicas), NONE
    new["next_s"] = new["ended_s"] = math.inf
    return state
