"""Half a day of real LLM load through simulated replicas, read every 5 s as policies read them."""

from __future__ import annotations

import math
import time

from bench.figure import Figure
from controlplane.sim.llm import LlmPool
from controlplane.sim.service import LLM_SERVICES
from controlplane.sim.signals import Signals
from controlplane.sim.trace import Requests, load

REPLICAS = 20
READ_EVERY_S = 5.0
GOAL_S = 40.0
_SERVICE = LLM_SERVICES["llama-3.1-8b-a100-tp2"]


def run() -> Figure:
    """CPU seconds of one run over the reasoning trace, without a policy; also of the events alone."""
    requests = load("reasoning")
    _read_through(requests.part(0.0, 60.0))  # compiles
    began = time.process_time()
    signals = _read_through(requests)
    took_s = time.process_time() - began
    pool = LlmPool(_SERVICE, requests, replicas=REPLICAS)
    began = time.process_time()
    pool.advance(signals.at_s)
    events_s = time.process_time() - began
    all_done = signals.completed == len(requests)
    return Figure(
        f"simulate {len(requests):,} LLM requests on {REPLICAS} replicas",
        f"{took_s:.1f} CPU seconds, {len(requests) / took_s:,.0f} requests a CPU second",
        f"under {GOAL_S:g} s on one core, all requests done",
        took_s < GOAL_S and all_done,
        {
            "seconds": took_s,
            "events_seconds": events_s,
            "requests": len(requests),
            "requests_per_cpu_s": len(requests) / took_s,
            "events_requests_per_cpu_s": len(requests) / events_s,
            "completed": signals.completed,
        },
        notes=(
            f"every replica's signals every {READ_EVERY_S:g} s of virtual time, no policy",
            f"events alone: {events_s:.1f} s, {len(requests) / events_s:,.0f} requests a CPU second",
        ),
    )


def _read_through(requests: Requests) -> Signals:
    """The last signals, ten minutes after the last arrival."""
    pool = LlmPool(_SERVICE, requests, replicas=REPLICAS)
    steps = math.ceil((requests.span_s + 600.0) / READ_EVERY_S)
    for step in range(steps):
        pool.signals(step * READ_EVERY_S)
    return pool.signals(steps * READ_EVERY_S)
