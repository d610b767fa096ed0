"""A raise that failed is tried again ever more rarely, and as at first once one has helped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.effects import absorb, believed_s, conclude, lifted
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, ActionStatus, Effect, Outcome, Step, Target, Verdict
from controlplane.domain.failures import FailureClass
from controlplane.domain.state import Ceiling, Expectation, UnitState

NOW = 1_700_000_000.0
POLICY = Policy(ceiling_s=1800.0)
LONGEST_S = 8 * POLICY.ceiling_s
FAILED = ("out of memory", Verdict.HARMED, Verdict.NO_GAIN)

failures = st.sampled_from(FAILED)
ends = st.sampled_from([*FAILED, Verdict.HELPED, Verdict.NOT_JUDGED])


def raised(state: UnitState, by: int, end: object, now: float) -> UnitState:
    """The state after a raise from what is allowed by so many, which ended so."""
    lower = state.ceiling.instances if state.ceiling is not None else 2
    state = UnitState(ceiling=state.ceiling, expectation=Expectation("d", lower, lower + by, now - 30.0, 10.0))
    if isinstance(end, Verdict):
        return conclude(state, Effect("d", end, now, 10.0, 10.0), POLICY, now)
    action = Action("d", "m", "t0", Step.SET_INSTANCES, Target(loaded=True, instances=lower + by), now - 30.0)
    oom = Outcome(action, ActionStatus.FAILED, now, "no", FailureClass.OUT_OF_MEMORY)
    return absorb(state, (oom,), POLICY)


@given(st.lists(failures, min_size=1, max_size=12), st.integers(1, 4), st.floats(0.0, LONGEST_S - 1.0))
def test_each_further_failure_is_believed_for_twice_as_long_up_to_a_cap(
    ended: list[object], by: int, later_s: float
) -> None:
    state, now = UnitState(), NOW
    for number, end in enumerate(ended):
        state = raised(state, by, end, now)
        assert state.ceiling is not None
        assert state.ceiling.until - now == min(POLICY.ceiling_s * 2**number, LONGEST_S)
        now = state.ceiling.until + later_s
        assert lifted(state.ceiling, POLICY, now, eased=False) == state.ceiling, "how often it failed is remembered"


@given(st.lists(st.tuples(ends, st.integers(1, 4)), max_size=20), failures)
def test_one_that_helps_is_the_end_of_it(raises: list[tuple[object, int]], last: object) -> None:
    state, now = UnitState(), NOW
    for end, by in raises:
        before, state = state.ceiling, raised(state, by, end, now)
        if end is Verdict.HELPED:
            assert state.ceiling is None
        if end is Verdict.NOT_JUDGED:
            assert state.ceiling == before, "it tells neither"
        now = state.ceiling.until if state.ceiling is not None else now + 60.0
    helped = raised(state, 1, Verdict.HELPED, now)
    again = raised(helped, 1, last, now).ceiling
    assert again is not None
    assert (again.times, again.until) == (1, now + POLICY.ceiling_s)


@given(failures, st.integers(2, 9))
def test_one_that_stays_below_the_ceiling_says_nothing_of_it(end: object, times: int) -> None:
    ceiling = Ceiling(6, NOW + 60.0, times)
    state = UnitState(ceiling=ceiling, expectation=Expectation("d", 2, 4, NOW - 30.0, 10.0))
    assert conclude(state, Effect("d", Verdict.HELPED, NOW, 10.0, 20.0), POLICY, NOW).ceiling == ceiling
    if isinstance(end, Verdict):
        lower = conclude(state, Effect("d", end, NOW, 10.0, 10.0), POLICY, NOW).ceiling
        assert lower is not None
        assert (lower.times, lower.until) == (1, NOW + POLICY.ceiling_s)


@given(st.integers(1, 99), st.floats(-LONGEST_S, 3 * LONGEST_S), st.booleans())
def test_it_is_lifted_by_easing_after_one_failure_only_and_forgotten_in_the_end(
    times: int, ended_s: float, eased: bool
) -> None:
    ceiling = Ceiling(3, NOW - ended_s, times)
    after = lifted(ceiling, POLICY, NOW, eased=eased)
    if ended_s >= LONGEST_S:
        assert after is None
        return
    assert after is not None
    assert (after.instances, after.times) == (3, times)
    assert after.until == (min(ceiling.until, NOW) if eased and times == 1 else ceiling.until)


@given(st.integers(1, 10**6))
def test_none_is_believed_for_longer_than_the_cap(times: int) -> None:
    assert POLICY.ceiling_s <= believed_s(times, POLICY) <= LONGEST_S
