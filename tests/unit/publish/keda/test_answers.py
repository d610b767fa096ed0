"""What is not known, not scaled here or not to be followed is refused, never answered with a number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.decision import Decision, ReasonCode, Step, Target
from controlplane.domain.errors import ConflictError, NotFoundError, NotToldError
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, Ports, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.picture import Picture
from controlplane.publish.keda.answers import desired
from tests.unit.publish.pictures import NOW, a_picture

LLAMA = {"workload": "llama"}


def a_workload(*, publish_only: bool = True) -> WorkloadSpec:
    bounds = ReplicaBounds(0, 20)
    return WorkloadSpec(
        "llama", ServerKind.VLLM, None, Ports(8000, 0, 8000), replicas=bounds, publish_only=publish_only
    )


def decided(replicas: int | None, *, at: float = NOW - 5, mode: Mode = Mode.ACT) -> Decision:
    target = None if replicas is None else Target(loaded=replicas > 0, instances=replicas)
    return Decision("d-2", at, "llama-8b", "llama", mode, Step.SCALE, None, target, (), ReasonCode.DEMAND_AHEAD)


def told(decision: Decision, spec: WorkloadSpec | None = None) -> Picture:
    model = ModelSpec("llama-8b", "llama-8b", (), decision.mode, workloads=("llama",))
    return replace(a_picture(decision), fleet=Fleet((), (model,), workloads=(spec or a_workload(),)))


@pytest.mark.parametrize("replicas", [0, 1, 20])
def test_what_was_decided_is_told(replicas: int) -> None:
    assert desired(told(decided(replicas)), LLAMA, 45.0) == replicas


def test_what_was_decided_too_long_ago_is_not_told() -> None:
    with pytest.raises(NotToldError, match="nothing was decided on workload llama within 45 s"):
        desired(told(decided(3, at=NOW - 46)), LLAMA, 45.0)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_only_in_mode_act_may_it_be_followed(mode: Mode) -> None:
    with pytest.raises(ConflictError, match=f"in mode {mode.value}; only in mode act"):
        desired(told(decided(3, mode=mode)), LLAMA, 45.0)


def test_a_workload_that_is_scaled_here_is_not_followed_too() -> None:
    with pytest.raises(ConflictError, match="set publish_only: true to let KEDA"):
        desired(told(decided(3), a_workload(publish_only=False)), LLAMA, 45.0)


@pytest.mark.parametrize("metadata", [{}, {"workload": "lama"}])
def test_an_unknown_workload_is_answered_with_those_that_there_are(metadata: dict[str, str]) -> None:
    with pytest.raises(NotFoundError, match="known: llama"):
        desired(told(decided(3)), metadata, 45.0)


def test_one_that_stands_by_tells_nothing() -> None:
    picture = told(decided(3))
    with pytest.raises(NotToldError, match="stands by"):
        desired(replace(picture, health=replace(picture.health, leading=False)), LLAMA, 45.0)
