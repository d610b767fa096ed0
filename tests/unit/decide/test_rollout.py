"""A rollout goes server by server, proves the new version or goes back, and gives a restarted server what it had."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.explain import reason_text
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.decide.proving import fault
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.instructions import Override, OverrideKind
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
    """Servers that do what is decided; `broken` ones fail to load the new version, on `bad` ones its probes fail.

    `folders` are the versions in the repository; by its own policy the latest is loaded. A server that serves none has
    restarted; nothing is read of those that are `down`, and no versions of those that are `vague`.
    """

    now: float = NOW
    fleet: Fleet = FLEET
    folders: tuple[str, ...] = BOTH
    told: tuple[Override, ...] = (TOLD,)
    serves: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(SERVERS, OLD))
    broken: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    vague: tuple[str, ...] = ()
    state: PolicyState = field(default_factory=PolicyState)
    steps: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    _results: tuple[Outcome, ...] = ()
    probed: bool = True

    def tick(self, times: int = 1, every_s: float = 15.0) -> dict[str, Decision]:
        """The decisions of the last of so many ticks."""
        plan = None
        for _ in range(times):
            self.now += every_s
            snapshot = Snapshot(self.fleet, self._reading(), overrides=self.told, results=self._results)
            plan, self.state = decide(snapshot, self.state, Policy(), self.now)
            self._results = tuple(self._done(d) for d in plan.decisions if d.actionable and d.target is not None)
        assert plan is not None
        return {d.server: d for d in plan.decisions}

    def decided(self) -> dict[str, Decision]:
        """The decisions of a tick that nobody carries out."""
        plan, _ = decide(Snapshot(self.fleet, self._reading(), overrides=self.told), self.state, Policy(), self.now)
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
        if decision.step not in (Step.SET_VERSIONS, Step.LOAD):
            return Outcome(action, OK, self.now)
        asked = decision.target.versions
        self.steps.append((decision.server, asked))
        found = tuple(v for v in asked if v in self.folders) if asked else self.folders[-1:]
        if decision.server in self.broken and "2" in found:
            return Outcome(action, ActionStatus.FAILED, self.now, "no weights", FailureClass.BACKEND, "look")
        if not found:
            lacks = FailureClass.VERSION_NOT_AVAILABLE
            return Outcome(action, ActionStatus.FAILED, self.now, "at least one version", lacks, "put it there")
        self.serves[decision.server] = found
        return Outcome(action, OK, self.now)

    def _reading(self) -> FleetReading:
        def of(name: str) -> ServerReading:
            versions = () if name in self.vague else self.serves[name]
            reading = ModelReading(ModelState.READY, instances=Known(2, self.now), versions=versions)
            reading = reading if self.serves[name] else ModelReading(ModelState.UNLOADED)
            return ServerReading(
                name, Known(value=True, observed_at=self.now), Known(ControlMode.EXPLICIT, self.now), 1,
                {"m": Known(reading, self.now)},
            )  # fmt: skip

        probes = tuple(
            ProbeResult(self.now - ago, name, 0.01, "wrong shape" if name in self.bad else "", version="2")
            for name in self.serves
            for ago in (2.0, 1.0)
            if self.serves[name] == BOTH and self.probed
        )
        servers = {name: of(name) for name in self.serves if name not in self.down}
        return FleetReading(self.now, servers, {}, {"m": probes}, Known((), self.now))


def test_one_server_after_the_other_serves_both_proves_the_new_one_and_lets_the_old_one_go() -> None:
    world = World()
    world.tick(20)
    assert world.steps == [("a", BOTH), ("b", OLD), ("a", NEW), ("b", BOTH), ("b", NEW)]
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, RolloutPhase.DONE)
    assert {d.step for d in world.tick().values()} == {Step.HOLD}


def test_a_version_that_nobody_has_asked_is_not_let_alone_and_explained_by_that() -> None:
    world = World(probed=False)
    world.tick(20)
    assert world.phase("a") is RolloutPhase.VERIFYING
    texts = [reason_text(r) for r in world.tick()["a"].reasons if r.code is ReasonCode.ROLLOUT]
    assert texts == ["rollout of version 2: verifying: no request or probe of that version was answered yet"]
    world.probed = True
    texts = [reason_text(r) for r in world.decided()["a"].reasons if r.code is ReasonCode.ROLLOUT]
    assert texts == ["rollout of version 2: retiring"]


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
    assert world.steps[:4] == [("a", BOTH), ("b", OLD), ("a", NEW), ("b", BOTH)]
    assert sorted(world.steps[4:]) == [("a", OLD), ("b", OLD)]


def rolls_out(world: World) -> list[tuple[str, ...]]:
    """What the second server is seen to serve until all is over."""
    seen = [world.serving("b")]
    for _ in range(40):
        world.tick()
        if world.serving("b") != seen[-1]:
            seen.append(world.serving("b"))
    return seen


def test_a_server_whose_turn_has_not_come_is_told_once_to_serve_what_it_serves() -> None:
    world = World(bad=("a",))
    world.tick(40)
    assert [versions for server, versions in world.steps if server == "b"] == [OLD]
    assert world.phase("b") is RolloutPhase.WAITING
    texts = [reason_text(r) for r in world.tick()["b"].reasons if r.code is ReasonCode.ROLLOUT]
    failed = "rollout of version 2: not begun: it failed on a: two probes in a row failed: wrong shape"
    assert texts == [f"{failed}; until then it serves version 1"]


@pytest.mark.parametrize("failed", [False, True])
def test_a_server_that_restarts_before_its_turn_loads_what_served(failed: bool) -> None:
    world = World(bad=("a",) if failed else ())
    world.tick(20 if failed else 2)
    assert world.phase("b") is RolloutPhase.WAITING
    world.serves["b"], world.steps = (), []
    assert world.tick()["b"].target == Target(loaded=True, instances=2, versions=OLD)
    assert ("b", OLD) in world.steps
    assert rolls_out(world) == ([OLD] if failed else [OLD, BOTH, NEW])


def test_a_raise_on_a_server_that_waits_names_the_version_that_serves() -> None:
    world = World()
    world.tick(2)
    world.fleet = replace(FLEET, models=(replace(MODEL, instances_min=3, instances_max=3),))
    raised = world.decided()["b"]
    assert (raised.step, raised.target) == (Step.SET_INSTANCES, Target(loaded=True, instances=3, versions=OLD))


def test_a_server_that_loads_the_newest_by_itself_before_its_turn_is_brought_back_and_begins_then() -> None:
    world = World()
    world.tick(2)
    world.serves["b"] = NEW
    assert world.tick()["b"].step is Step.SET_VERSIONS
    assert rolls_out(world) == [OLD, BOTH, NEW]


def test_whose_turn_has_come_tells_what_it_waits_for() -> None:
    def stands(world: World) -> str:
        world.serves["b"] = NEW  # it restarts all the time, and loads the newest
        (told,) = [reason_text(r) for r in world.tick()["b"].reasons if r.code is ReasonCode.ROLLOUT]
        return told.removeprefix("rollout of version 2: not begun: ")

    assert [stands(World(vague=("b",)))] == ["its turn has not come"]
    for vague, why in (
        (("b",), "what it serves is not known"),
        ((), "it begins from version 1, which it does not serve yet"),
    ):
        world = World(vague=vague)
        world.tick()
        assert [stands(world) for _ in range(20)][-1] == why


def test_a_server_that_was_away_when_the_rollout_began_loads_what_served_elsewhere() -> None:
    for away, seen in ((1, [(), OLD, BOTH, NEW]), (40, [(), NEW])):
        world = World()
        world.serves["b"] = ()
        world.fleet = replace(FLEET, models=(replace(MODEL, runs_on=("a",)),))
        world.tick(away)
        world.fleet = FLEET
        assert rolls_out(world) == seen, "what is proved everywhere is loaded at once"
        assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, RolloutPhase.DONE)


def test_one_that_came_while_the_new_version_was_proved_everywhere_goes_back_too_where_it_fails_later() -> None:
    world = World(bad=("b",), down=("b",))
    world.tick(20)
    assert world.phase("a") is RolloutPhase.DONE
    world.serves["c"] = ()
    third, model = replace(FLEET.servers[0], name="c"), replace(MODEL, runs_on=(*SERVERS, "c"))
    world.fleet = Fleet((*FLEET.servers, third), (model,))
    world.tick(2)
    assert world.serving("c") == NEW
    world.down = ()
    world.tick(40)
    assert world.serves == dict.fromkeys("abc", OLD)


def test_a_server_whose_versions_are_not_told_is_taken_for_none_that_has_the_new_one() -> None:
    world = World(vague=("b",))
    world.tick(20)
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, None)
    world.vague = ()
    assert rolls_out(world) == [OLD, BOTH, NEW]


def test_what_a_waiting_server_does_not_have_any_more_is_forgotten() -> None:
    world = World()
    world.tick(2)
    world.serves["b"], world.folders = (), NEW
    world.tick(20)
    assert world.serves == dict.fromkeys(SERVERS, NEW)
    assert world.phase("b") is RolloutPhase.LAPSED


def test_one_that_is_withdrawn_leaves_nothing_of_a_server_that_waits() -> None:
    world = World()
    world.tick(2)
    world.told, world.steps = (), []
    world.tick(4)
    assert (world.phase("b"), [server for server, _ in world.steps]) == (None, ["a"])


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


@pytest.mark.parametrize(("broken", "held"), [((), NEW), (("b",), OLD)], ids=["done", "rolled back"])
def test_servers_that_restart_load_what_was_decided_and_not_what_the_repository_has(
    broken: tuple[str, ...], held: tuple[str, ...]
) -> None:
    world = World(broken=broken)
    world.tick(40)
    world.serves, world.steps, world.folders = dict.fromkeys(SERVERS, ()), [], ("1", "2", "3")
    world.tick(3)
    assert world.steps == [("a", held), ("b", held)]
    assert world.serves == dict.fromkeys(SERVERS, held)


@pytest.mark.parametrize("phase", [RolloutPhase.VERIFYING, RolloutPhase.RETIRING])
def test_a_new_version_that_does_not_load_after_a_restart_goes_and_the_old_one_serves(phase: RolloutPhase) -> None:
    world = World()
    for _ in range(10):
        if world.tick() and world.phase("a") is phase:
            break
    world.serves["a"], world.broken, world.steps = (), ("a",), []
    world._results = ()
    world.tick(4)
    assert world.serving("a") == OLD
    assert world.phase("a") is RolloutPhase.ROLLED_BACK
    assert [v for server, v in world.steps if server == "a"][1:] == [OLD, OLD], "loaded, and told so"


@pytest.mark.parametrize("restarted", [True, False])
def test_what_was_decided_is_forgotten_once_it_is_not_in_the_repository_any_more(restarted: bool) -> None:
    world = World(broken=SERVERS)
    world.tick(20)
    world.serves, world.steps, world.folders = dict.fromkeys(SERVERS, () if restarted else ("3",)), [], ("2", "3")
    world.broken = ()
    world.tick(4)
    assert world.serves == dict.fromkeys(SERVERS, ("3",))
    assert world.steps[0] == ("a", OLD)
    assert world.phase("a") is RolloutPhase.LAPSED
    begun = len(world.steps)
    world.tick(20)
    assert len(world.steps) == begun, "it is not begun again, and nothing is tried on"
    world.told = (replace(TOLD, id="next", created_at=world.now),)
    world.tick(2)
    assert world.serving("a") == ("2", "3"), "a newer one takes its place"


def test_what_was_decided_is_forgotten_with_a_model_that_leaves_the_configuration() -> None:
    world = World()
    world.tick(20)
    world.fleet = replace(FLEET, models=())
    world.tick()
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.LAPSED, RolloutPhase.LAPSED)
    world.fleet, world.serves, world.steps = FLEET, dict.fromkeys(SERVERS, ()), []
    world.folders = ("1", "2", "3")
    world.tick(4)
    assert world.steps == [("a", ()), ("b", ())]
    assert world.serves == dict.fromkeys(SERVERS, ("3",))


@pytest.mark.parametrize("phase", [RolloutPhase.BESIDE, RolloutPhase.VERIFYING, RolloutPhase.RETIRING])
def test_a_server_that_leaves_the_configuration_midway_begins_anew_once_it_is_back_and_the_others_keep_what_they_have(
    phase: RolloutPhase,
) -> None:
    world = World()
    for _ in range(20):
        world.tick()
        if world.phase("b") is phase:
            break
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, phase)
    world.fleet = replace(FLEET, servers=FLEET.servers[:1], models=(replace(MODEL, runs_on=("a",)),))
    world.tick(2)
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, None)
    world.fleet, world.steps = FLEET, []
    world.tick(20)
    assert world.serves == dict.fromkeys(SERVERS, NEW)
    assert (world.phase("a"), world.phase("b")) == (RolloutPhase.DONE, RolloutPhase.DONE)
    assert "a" not in {server for server, _ in world.steps}


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
