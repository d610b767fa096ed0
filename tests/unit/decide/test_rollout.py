"""A rollout goes server by server, proves the new version or goes back, and gives a restarted server what it had."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.decide.rollout import fault
from controlplane.domain.decision import (
    Action,
    ActionStatus,
    Decision,
    Outcome,
    Override,
    OverrideKind,
    ReasonCode,
    Step,
    Target,
)
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import (
    ControlMode,
    FleetReading,
    Interval,
    ModelReading,
    ModelState,
    ProbeResult,
    ServerReading,
    VersionCount,
)
from controlplane.domain.rollout import Rollout, RolloutPhase, Served
from controlplane.domain.signal import Known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, unit_key
from tests.unit.decide.values import an_interval

NOW = 1_700_000_000.0
SERVERS = ("a", "b")
MODEL = ModelSpec("m", "m", runs_on=SERVERS, instances_min=2, instances_max=2, mode=Mode.ACT)
FLEET = Fleet(tuple(ServerSpec(n, ServerKind.TRITON, "http://x", "http://x", grpc="x:1") for n in SERVERS), (MODEL,))
TOLD = Override("ov", "m", OverrideKind.ROLLOUT, "ann", "better", NOW, NOW + 3600, version="2", verify_s=60.0)
OK = ActionStatus.SUCCEEDED
OLD, BOTH, NEW = ("1",), ("1", "2"), ("2",)


@dataclass
class World:
    """Servers that do what is decided; `broken` ones fail to load the new version, on `bad` ones its probes fail."""

    now: float = NOW
    told: tuple[Override, ...] = (TOLD,)
    serves: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(SERVERS, OLD))
    broken: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    state: PolicyState = field(default_factory=PolicyState)
    steps: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    _results: tuple[Outcome, ...] = ()

    def tick(self, times: int = 1, every_s: float = 15.0) -> dict[str, Decision]:
        """The decisions of the last of so many ticks."""
        plan = None
        for _ in range(times):
            self.now += every_s
            snapshot = Snapshot(FLEET, self._reading(), overrides=self.told, results=self._results)
            plan, self.state = decide(snapshot, self.state, Policy(), self.now)
            self._results = tuple(self._done(d) for d in plan.decisions if d.actionable and d.target is not None)
        assert plan is not None
        return {d.server: d for d in plan.decisions}

    def serving(self, server: str) -> tuple[str, ...]:
        return self.serves[server]

    def phase(self, server: str) -> RolloutPhase | None:
        rollout = self.state.units[unit_key("m", server)].rollout
        return None if rollout is None else rollout.phase

    def _done(self, decision: Decision) -> Outcome:
        assert decision.target is not None
        assert decision.target.instances == 2
        action = Action(decision.id, "m", decision.server, decision.step, decision.target, self.now)
        if decision.step is not Step.SET_VERSIONS:
            return Outcome(action, OK, self.now)
        self.steps.append((decision.server, decision.target.versions))
        if decision.server in self.broken and "2" in decision.target.versions:
            return Outcome(action, ActionStatus.FAILED, self.now, "no weights", FailureClass.BACKEND, "look")
        self.serves[decision.server] = decision.target.versions
        return Outcome(action, OK, self.now)

    def _reading(self) -> FleetReading:
        def of(name: str) -> ServerReading:
            reading = ModelReading(ModelState.READY, instances=Known(2, self.now), versions=self.serves[name])
            return ServerReading(
                name, Known(value=True, observed_at=self.now), Known(ControlMode.EXPLICIT, self.now), 1,
                {"m": Known(reading, self.now)},
            )  # fmt: skip

        probes = tuple(
            ProbeResult(self.now - ago, name, 0.01, "wrong shape" if name in self.bad else "", version="2")
            for name in SERVERS
            for ago in (2.0, 1.0)
            if self.serves[name] == BOTH
        )
        return FleetReading(self.now, {name: of(name) for name in SERVERS}, {}, {"m": probes}, Known((), self.now))


def test_one_server_after_the_other_serves_both_proves_the_new_one_and_lets_the_old_one_go() -> None:
    world = World()
    world.tick(20)
    assert world.steps == [("a", BOTH), ("a", NEW), ("b", BOTH), ("b", NEW)]
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, RolloutPhase.DONE)
    assert {d.step for d in world.tick().values()} == {Step.HOLD}


def test_a_version_is_watched_for_as_long_as_was_said() -> None:
    world = World()
    world.tick(2)
    assert world.phase("a") is RolloutPhase.VERIFYING
    world.tick(2)
    assert world.serving("a") == BOTH
    assert ReasonCode.ROLLOUT in {reason.code for reason in world.tick()["b"].reasons}
    assert world.serving("a") == NEW


@pytest.mark.parametrize("fails", [{"broken": ("b",)}, {"bad": ("b",)}], ids=["it does not load", "its probes fail"])
def test_where_one_server_fails_all_go_back_and_nothing_is_tried_again(fails: dict[str, tuple[str, ...]]) -> None:
    world = World(**fails)  # type: ignore[arg-type]
    world.tick(40)
    assert world.serves == dict.fromkeys(SERVERS, OLD)
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.ROLLED_BACK, RolloutPhase.ROLLED_BACK)
    assert world.steps[:3] == [("a", BOTH), ("a", NEW), ("b", BOTH)]
    assert sorted(world.steps[3:]) == [("a", OLD), ("b", OLD)]


def test_a_version_of_which_nothing_is_seen_is_not_proved() -> None:
    world = World()
    world.tick(2)
    rollout = world.state.units["m@a"].rollout
    assert rollout is not None
    world.state = replace(world.state, units={**world.state.units, "m@a": replace(
        world.state.units["m@a"], rollout=replace(rollout, since=NOW + 1e6)
    )})  # fmt: skip
    world.tick(20)
    assert world.serving("a") == BOTH


def test_a_restarted_server_gets_the_versions_back_and_is_watched_anew() -> None:
    world = World()
    world.tick(4)
    world.serves["a"] = NEW  # what the repository has as the latest
    assert world.tick()["a"].target == Target(loaded=True, instances=2, versions=BOTH)
    world.tick(3)
    assert world.serving("a") == BOTH
    world.tick(20)
    world.serves["a"] = OLD
    world.tick()
    assert world.serving("a") == NEW, "as long as the rollout holds"


def test_a_rollout_that_is_withdrawn_midway_goes_back_and_one_that_is_over_leaves_all_as_it_is() -> None:
    midway = World()
    midway.tick(3)
    midway.told = ()
    midway.tick(5)
    assert (midway.serving("a"), midway.phase("a")) == (OLD, None)
    over = World()
    over.tick(20)
    steps, over.told = len(over.steps), ()
    over.tick(3)
    assert (over.serving("a"), over.phase("a"), len(over.steps)) == (NEW, None, steps)


def test_a_pin_holds_beside_a_rollout() -> None:
    pin = Override("pin", "m", OverrideKind.PIN, "ann", "launch", NOW + 1, NOW + 3600, 2)
    world = World(told=(TOLD, pin))
    world.tick(20)
    assert world.serves == dict.fromkeys(SERVERS, NEW)


@given(kills=st.lists(st.integers(0, 30), max_size=4), broken=st.sampled_from([(), ("a",), ("b",)]))
def test_outcomes_that_are_lost_in_a_crash_change_nothing_in_the_end(kills: list[int], broken: tuple[str, ...]) -> None:
    world = World(broken=broken)
    for tick in range(60):
        world.tick()
        if tick in kills:
            world._results = ()
    assert world.serves == dict.fromkeys(SERVERS, OLD if broken else NEW)
    both = [server for server, versions in world.steps if versions == BOTH]
    assert len(list(takewhile(lambda server: server == "a", both))) == both.count("a"), "never two at a time"


def memory(served: Served) -> Rollout:
    return Rollout("ov", "2", OLD, RolloutPhase.VERIFYING, NOW, served)


def both_served(requests: int, failed: int, request_s: float) -> Interval:
    counts = (VersionCount("1", 10, 0, 0, 0, 0.1), VersionCount("2", requests, failed, 0, 0, request_s))
    return an_interval(NOW, NOW + 60, 10 + requests, versions=counts)


USUAL = Served(600, 10.0, 0.02, 0.01)


@pytest.mark.parametrize(
    ("interval", "found"),
    [
        (both_served(600, 10, 6.0), ""),
        (both_served(20, 2, 0.2), ""),
        (both_served(100, 10, 1.0), "10 of 100 requests failed (before: 2.0%)"),
        (both_served(600, 0, 12.0), "a request takes 20.0 ms, and took 10.0 ms at no less demand"),
        (both_served(1200, 0, 24.0), ""),
        (both_served(40, 0, 4.0), ""),
    ],
    ids=["as before", "too few", "fails more", "slower", "slower at more demand", "slow at first"],
)
def test_the_new_version_is_held_against_what_the_old_one_did(interval: Interval, found: str) -> None:
    assert fault(memory(USUAL), [interval], ()) == found


def test_one_failed_probe_may_be_chance_and_those_of_the_old_version_are_not_its_own() -> None:
    failed = [ProbeResult(NOW + n, "a", 1.0, "no answer", version=v) for n, v in enumerate(("1", "2", "1", "1"), 1)]
    assert fault(memory(USUAL), (), failed) == ""
    again = ProbeResult(NOW + 9, "a", 1.0, "no answer", version="2")
    assert fault(memory(USUAL), (), [*failed, again]) == "two probes in a row failed: no answer"
