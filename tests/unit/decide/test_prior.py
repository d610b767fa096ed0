"""A model with a profile is decided about before anything of it was learned."""

from __future__ import annotations

import pytest

from controlplane.decide.explain import reason_text
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Decision, ReasonCode, Step
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.profiles import BatchProfile, Profile, TokenProfile
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from tests.unit.decide.values import an_interval

NOW = 1_700_000_000.0
SERVER = ServerSpec("t", ServerKind.TRITON, "http://t", "http://t/metrics", "t:8001")
BATCHES = BatchProfile(0.002, 0.01, 8, 1, "a test", 0.0, 6, 0.01)
TOKENS = TokenProfile(0.008, 0.0002, 0.02, 0.0001, None, None, 512, 64, "a test", 0.0, 6, 0.01)


def decided(profile: Profile | None) -> Decision:
    """One instance, no batching, 100 requests a second, and no statistics of batches yet."""
    model = ModelSpec("m", "m", ("t",), Mode.ACT, instances_max=8, profile=profile)
    intervals = tuple(an_interval(NOW - 5 * k, NOW - 5 * (k - 1), 500) for k in range(6, 0, -1))
    reading = ModelReading(ModelState.READY, instances=Known(1, NOW), intervals=intervals)
    server = ServerReading(
        "t", Known(value=True, observed_at=NOW), Known(ControlMode.EXPLICIT, NOW), 0, {"m": Known(reading, NOW)}
    )
    fleet = FleetReading(NOW, {"t": server}, {}, {}, Missing("no driver"))
    plan, _ = decide(Snapshot(Fleet((SERVER,), (model,)), fleet), PolicyState(), Policy(), NOW)
    return plan.decisions[0]


@pytest.mark.parametrize("profile", [None, TOKENS])
def test_without_a_profile_of_batches_capacity_is_not_known(profile: Profile | None) -> None:
    decision = decided(profile)
    assert decision.step is Step.HOLD
    assert ReasonCode.CAPACITY_UNKNOWN in {reason.code for reason in decision.reasons}


def test_with_one_the_count_is_found_at_once() -> None:
    decision = decided(BATCHES)
    assert ReasonCode.CAPACITY_UNKNOWN not in {reason.code for reason in decision.reasons}
    assert decision.target is not None
    assert decision.target.instances > 1
    (capacity,) = (reason for reason in decision.reasons if reason.code is ReasonCode.CAPACITY)
    assert capacity.numbers["capacity_per_s"] == pytest.approx(0.8 / 0.012)
    assert "100 % of that is from its profile" in reason_text(capacity)
