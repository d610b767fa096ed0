"""Workloads of vLLM-like replicas under a load, as their pages tell of it, to decide on.

A replica spends its seconds as decide/replicas/tokens.py has it: with what it is given it runs as many requests at once
as use all of its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import Pool
from controlplane.decide.replicas.scale import decide_pool
from controlplane.domain.decision import Decision, Reason, ReasonCode
from controlplane.domain.fleet import (
    KubernetesQuery,
    Member,
    Mode,
    ModelSpec,
    Phase,
    Ports,
    ReplicaBounds,
    ServerKind,
    WorkloadSpec,
)
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.observation import Interval, ModelReading, ModelState, TokenCounts
from controlplane.domain.profiles import TokenProfile
from controlplane.domain.signal import Known
from controlplane.domain.state import WorkloadState
from tests.unit.decide.values import an_interval

NOW = 1_700_000_000.0
STEP_S, BACK_S = 15.0, 330.0
PROMPT, OUTPUT = 1000, 200
# decode 10 ms + 0.2 ms by running request, prompts 0.1 ms a token: 0.14 s a request, of 0.8 s in a second
BASE_S, PER_RUNNING_S, PER_PROMPT_S = 0.010, 0.0002, 0.0001
PER_REPLICA_PER_S = 0.8 / 0.14
PROFILE = TokenProfile(
    BASE_S, PER_RUNNING_S, 0.0, PER_PROMPT_S, None, None, PROMPT, OUTPUT, "bench", NOW - 86_400.0, 20, 0.02
)
OBJECTIVES = (
    Objective(Indicator.TTFT, 0.99, 28 * 86_400.0, IndicatorSource.SERVER, 1.0),
    Objective(Indicator.INTER_TOKEN_LATENCY, 0.99, 28 * 86_400.0, IndicatorSource.SERVER, 0.05),
)
MODEL = ModelSpec("llm", "llm", (), Mode.ACT, OBJECTIVES, workloads=("fleet",), profile=PROFILE)
SPEC = WorkloadSpec(
    "fleet",
    ServerKind.VLLM,
    KubernetesQuery("default", pods="app=llm"),
    Ports(8000, 0, 8000),
    replicas=ReplicaBounds(1, 50),
)
POLICY = Policy()
KNOWN = WorkloadState(startups=(100.0,) * 12, asked=0, ready=frozenset(f"fleet/{n} {n}" for n in range(200)))
"""What is known of a workload whose replicas were seen to start, in 100 s each."""


def tokens(prompt: float | None, generation: float | None) -> TokenCounts:
    return TokenCounts(prompt, generation, *[None] * 6)  # type: ignore[arg-type]


def loaded(start: float, end: float, per_s: float, **changes: object) -> Interval:
    """A replica that takes in and ends so many requests a second."""
    length_s, decoded_per_s = end - start, per_s * OUTPUT
    rho = min(0.98, per_s * PROMPT * PER_PROMPT_S + decoded_per_s * PER_RUNNING_S)
    running = BASE_S * decoded_per_s / (1 - rho)
    fields = {
        "request_s": running * length_s,
        "running_start": running,
        "running_end": running,
        "running_max": None,
        "tokens": tokens(per_s * PROMPT * length_s, decoded_per_s * length_s),
    }
    return an_interval(start, end, per_s * length_s, **(fields | changes))  # type: ignore[arg-type]


@cache
def steady(now: float, per_s: float) -> tuple[Interval, ...]:
    """What a replica did up to now under the same load."""
    ends = [now - STEP_S * n for n in range(int(BACK_S / STEP_S))]
    return tuple(loaded(end - STEP_S, end, per_s) for end in reversed(ends))


def a_reading(intervals: Sequence[Interval], **changes: object) -> ModelReading:
    at = intervals[-1].end
    newest = intervals[-1]
    fields: dict[str, object] = {
        "pending": Known(newest.pending_end or 0, at),
        "running": Known(newest.running_end or 0, at),
    }
    return ModelReading(ModelState.READY, intervals=tuple(intervals), **(fields | changes))  # type: ignore[arg-type]


def a_member(n: int, phase: Phase = Phase.READY, created_at: float = NOW - 9000.0, ready_s: float = 100.0) -> Member:
    ready_at = None if phase is Phase.STARTING else created_at + ready_s
    return Member(SPEC.server(str(n), f"10.0.0.{n}"), "fleet", phase, created_at, ready_at, str(n))


def a_pool(
    readings: Sequence[ModelReading | None], starting: Sequence[float] = (), model: ModelSpec = MODEL, **changes: object
) -> Pool:
    """A replica for each reading, those with None told nothing; and replicas that start since the moments given."""
    members = [a_member(n) for n in range(len(readings))]
    members += [a_member(100 + n, Phase.STARTING, at) for n, at in enumerate(starting)]
    told = {f"fleet/{n}": reading for n, reading in enumerate(readings) if reading is not None}
    pool = Pool(SPEC, ReplicaBounds(1, 50), (model,), tuple(members), {model.name: told})
    return replace(pool, **changes)  # type: ignore[arg-type]


def under(
    per_s: float, serving: int, starting: Sequence[float] = (), *, now: float = NOW, silent: int = 0, **changes: object
) -> Pool:
    """Replicas that share so many requests a second evenly; the last `silent` of them tell nothing."""
    reading = a_reading(steady(now, per_s / serving)) if serving else None
    told = [reading] * (serving - silent) + [None] * silent
    return a_pool(told, starting, **changes)  # type: ignore[arg-type]


def decided(
    pool: Pool, state: WorkloadState = KNOWN, now: float = NOW, policy: Policy = POLICY
) -> tuple[Decision, WorkloadState]:
    decision, state, _ = decide_pool(pool, state, None, policy, now)
    return decision, state


def wanted(decision: Decision) -> int:
    assert decision.target is not None
    return decision.target.instances


def reason(decision: Decision, code: ReasonCode) -> Reason:
    """The last reason of that code."""
    return next(found for found in reversed(decision.reasons) if found.code is code)


def settled(per_s: float, serving: int, ticks: int = 80, until: float = NOW) -> WorkloadState:
    """What is known after so many decisions under the same load, the last one a step before `until`."""
    state = KNOWN
    for tick in range(ticks, 0, -1):
        at = until - STEP_S * tick
        _, state = decided(under(per_s, serving, now=at), state, at)
        state = replace(state, asked=serving)
    return state
