"""Memory written by a clock that was ahead holds nothing up."""

from __future__ import annotations

from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.batching import BatchingCase, BatchingKnobs, BatchingMemory
from controlplane.domain.rollout import Rollout, RolloutPhase, Served
from controlplane.domain.state import Ceiling, Expectation, PolicyState, UnitState

NOW = 1_700_000_000.0
POLICY = Policy(ceiling_s=1800.0, back_off_max_s=600.0)


def a_state(at: float) -> PolicyState:
    """All that can be remembered, as of `at`."""
    unit = UnitState(
        wanted=True,
        instances=3,
        used_at=at,
        recommended=((at - 15, 2), (at, 3)),
        learned_until=at,
        expectation=Expectation("d", 2, 3, at, 10.0, issued_at=at),
        ceiling=Ceiling(3, at + 3600.0, times=2),
        failures=1,
        retry_at=at + 600.0,
        blind_since=at,
        changed_at=at,
        healed_at=at,
        jump_seen_at=at,
        rollout=Rollout("r", "2", ("1",), RolloutPhase.VERIFYING, at, Served(100, 1.0, 0.0, 0.1)),
        batching=BatchingMemory(BatchingKnobs(8), at, BatchingCase.UNBATCHED),
    )
    return PolicyState({"m@t0": unit, "new@t0": UnitState()})


def test_what_was_remembered_is_taken_up_as_it_was() -> None:
    for age_s in (0.0, 15.0, 86400.0):
        assert resumed(a_state(NOW - age_s), POLICY, NOW) == a_state(NOW - age_s)


def test_moments_that_are_still_to_come_are_now_and_waits_begin_now() -> None:
    unit = resumed(a_state(NOW + 36000.0), POLICY, NOW).units["m@t0"]
    latest = a_state(NOW).units["m@t0"]
    assert unit.recommended == ((NOW, 2), (NOW, 3))
    names = (
        "used_at",
        "learned_until",
        "expectation",
        "ceiling",
        "retry_at",
        "changed_at",
        "healed_at",
        "batching",
        "rollout",
    )
    for name in names:
        assert getattr(unit, name) == getattr(latest, name), name
    assert (unit.blind_since, unit.jump_seen_at) == (NOW, NOW)
