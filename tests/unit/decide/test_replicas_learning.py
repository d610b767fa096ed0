"""Every reading of a replica is learned from once, whatever lies between two decisions."""

from __future__ import annotations

import pytest

from controlplane.decide.replicas.pool import Pool, remember
from controlplane.domain.fleet import Member, Mode, ModelSpec, Phase, Ports, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.observation import Interval, ModelReading, ModelState, TokenCounts
from controlplane.domain.state import WorkloadState

SPEC = WorkloadSpec("w", ServerKind.VLLM, None, Ports(8000, 0, 8000), replicas=ReplicaBounds(1, 8))
MODEL = ModelSpec("m", "m", ("w/0",), Mode.ACT, workloads=("w",))
READ_S = 5.0


def busy(end: float) -> Interval:
    tokens = TokenCounts(2500, 500, 0, 0, 0, 0, 0, 0)
    return Interval(
        *(end - READ_S, end, 5, 0, 0, 0, 0, 5.0, 0.0, 0, 0, None, 1), tokens=tokens, running_start=4, running_end=4
    )


@pytest.mark.parametrize("readings_a_decision", [1, 3])
def test_each_reading_is_learned_from_once(readings_a_decision: int) -> None:
    member = Member(SPEC.server("0", "h"), "w", Phase.READY, created_at=0.0, ready_at=0.0)
    state = WorkloadState()
    for newest in range(readings_a_decision, 61, readings_a_decision):
        intervals = tuple(busy(100.0 + READ_S * n) for n in range(1, newest + 1))
        reading = ModelReading(ModelState.READY, intervals=intervals)
        state = remember(Pool(SPEC, ReplicaBounds(1, 8), (MODEL,), (member,), {"m": {"w/0": reading}}), state)
    assert state.tokens.readings == 60
