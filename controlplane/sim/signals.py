"""What a collector could know of a simulated pool at one moment: of its replicas and of the gateway before them.

`Signals` is all of it, as a pool tells it. `Reading` is what a policy gets to see, where things may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Phase = Literal["starting", "ready", "draining"]
Counts = npt.NDArray[np.int64]

# Bucket edges of vLLM 0.32's histograms (vllm/v1/metrics/loggers.py), seconds.
TTFT_EDGES_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0),
    *(7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
ITL_EDGES_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0),
    *(7.5, 10.0, 20.0, 40.0, 80.0),
)


# Bucket edges of request durations by OpenTelemetry's semantic conventions for HTTP, seconds.
LATENCY_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

Why = Literal["nan", "absent", "refused"]
"""Why something is missing: its value is NaN; it was not scraped; who is asked for it answers with an error (401)."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not known, in place of what would be."""

    why: Why


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica that has not ended, as the orchestrator knows it."""

    id: int
    phase: Phase
    started_s: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class UnreadReplica(Replica):
    """One of which nothing else is known."""

    why: Why


@dataclass(frozen=True, slots=True)
class ReplicaSignals(Replica):
    """One whose page was read. Counters and histograms are cumulative since its start.

    `running`: requests that execute, `waiting`: in its own queue; a gateway counts both as outstanding.
    `outstanding_s`: their number integrated over time, so that a difference over seconds is the mean concurrency.
    `arrived`: requests sent to it. `busy_s`: time in which anything executed. `prompt_tokens` count when a request's
    first token comes, `generated_tokens` as they come. `ttft_counts`, `itl_counts`: by bucket, NOT cumulative over
    the edges `TTFT_EDGES_S`, `ITL_EDGES_S` (an edge belongs to the bucket below it), one more above the last.
    Pools that have no tokens leave what is of tokens at its default.
    """

    running: int
    waiting: int
    arrived: int
    completed: int
    outstanding_s: float
    busy_s: float
    prompt_tokens: int = 0
    generated_tokens: int = 0
    preempted: int = 0
    ttft_s_sum: float = 0.0
    itl_s_sum: float = 0.0
    ttft_counts: Counts | None = None
    itl_counts: Counts | None = None
    kv_used_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The gateway's page.

    `queued`: requests that no ready replica could take. Cumulative: `arrived` (each request once), `completed`,
    `retried` (sent anew because their replica failed), `rejected` (by a full queue, not sent anew), `latency_counts`:
    requests done, by seconds from arrival to answer, buckets as in ReplicaSignals over `latency_edges_s`; None where
    the gateway keeps none.
    """

    queued: int
    arrived: int
    completed: int
    retried: int
    rejected: int = 0
    latency_counts: Counts | None = None
    latency_edges_s: tuple[float, ...] = LATENCY_EDGES_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals(Gateway):
    """The gateway's page and those of every replica that has not ended, by rising id.

    Always: arrived = completed + rejected + queued + running + waiting.
    """

    at_s: float
    replicas: tuple[ReplicaSignals, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a policy sees at one moment: every replica that has not ended, by rising id, read or not."""

    at_s: float
    gateway: Gateway | Missing
    replicas: tuple[ReplicaSignals | UnreadReplica, ...]
