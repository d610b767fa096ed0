"""What the kernel of vLLM-like replicas works on: arrays, by request, by replica, and the gateway's."""

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

REPLICA = np.dtype(
    [
        *((name, np.float64) for name in ("started_s", "ready_s", "ended_s")),
        ("phase", np.int64),
        # the segment: decoding requests get a token in each iteration, `chunk` prompt tokens are in its only one
        *((name, np.float64) for name in ("segment_s", "iteration_s")),
        *((name, np.int64) for name in ("iterations", "chunk", "running", "decoding", "kv_used")),
        # decode iterations since the start, and at how many of them the first request is done
        *((name, np.int64) for name in ("decoded", "first_due")),
        # its own queue: first and last request, how many
        *((name, np.int64) for name in ("head", "tail", "waiting")),
        # cumulative, up to the segment's begin; outstanding_s up to since_s
        *((name, np.float64) for name in ("since_s", "outstanding_s", "busy_s", "ttft_s_sum", "itl_s_sum")),
        *((name, np.int64) for name in ("arrived", "completed", "prompt_tokens", "generated_tokens", "preempted")),
    ]
)
GATEWAY = np.dtype(
    [
        ("next_ready_s", np.float64),
        *((name, np.int64) for name in ("live", "arrived", "retried", "completed")),
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
    """Everything that changes, in arrays: by request, by replica (`replicas` to `itl_counts`), and the gateway's one.

    `due` is, for a decoding member, its replica's `decoded` when its last token comes; for another one the prompt
    tokens left. `made` are tokens from before a preemption, whose last came at `token_s`. `live` holds the ids of
    replicas that have not ended.
    """

    fit: Fit
    at_s: Array
    prompt: Array
    output: Array
    made: Array
    token_s: Array
    first_s: Array
    done_s: Array
    sent_to: Array
    behind: Array
    gateway: Array
    live: Array
    replicas: Array
    next_s: Array
    members: Array
    due: Array
    ttft_counts: Array
    itl_counts: Array
    ttft_edges_s: Array
    itl_edges_s: Array


_BY_REPLICA = ("live", "replicas", "next_s", "members", "due", "ttft_counts", "itl_counts")


def fresh(service: LlmService, requests: Requests, replicas: int) -> State:
    """Nothing has happened; room for so many replicas."""
    n = len(requests)
    gateway = np.zeros(1, GATEWAY)
    gateway["next_ready_s"] = math.inf
    gateway["head"] = NONE
    empty = State(
        fit=Fit(*(getattr(service, name) for name in Fit._fields)),
        at_s=requests.at_s,
        prompt=requests.prompt_tokens.astype(np.int64),
        output=requests.output_tokens.astype(np.int64),
        made=np.zeros(n, np.int64),
        token_s=np.full(n, math.nan),
        first_s=np.full(n, math.nan),
        done_s=np.full(n, math.nan),
        sent_to=np.full(n, NONE, np.int32),
        behind=np.full(n, NONE, np.int64),
        gateway=gateway,
        live=np.zeros(0, np.int64),
        replicas=np.zeros(0, REPLICA),
        next_s=np.zeros(0),
        members=np.zeros((0, service.max_num_seqs), np.int64),
        due=np.zeros((0, service.max_num_seqs), np.int64),
        ttft_counts=np.zeros((0, len(TTFT_EDGES_S) + 1), np.int64),
        itl_counts=np.zeros((0, len(ITL_EDGES_S) + 1), np.int64),
        ttft_edges_s=np.array(TTFT_EDGES_S),
        itl_edges_s=np.array(ITL_EDGES_S),
    )
    return with_room(empty, replicas)


def with_room(state: State, replicas: int) -> State:
    """The same state with room for so many replicas."""

    def longer(array: Any) -> Any:
        room = np.zeros((replicas, *array.shape[1:]), array.dtype)
        room[: len(array)] = array
        return room

    roomy = state._replace(**{name: longer(getattr(state, name)) for name in _BY_REPLICA})
    new = roomy.replicas[len(state.replicas) :]
    new["ended_s"], new["head"] = math.inf, NONE
    roomy.next_s[len(state.replicas) :] = math.inf
    return roomy
