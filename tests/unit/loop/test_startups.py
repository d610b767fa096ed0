"""Start-ups that nobody announced are told from reading to reading, with honest bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.fleet import Fleet, Member, Mode, ModelSpec, Phase, ServerKind, ServerSpec
from controlplane.domain.observation import FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.startups import REPLICA, Startup
from controlplane.loop.startups import StartupBook

ABSENT, UNLOADED, LOADING, READY = ModelState.ABSENT, ModelState.UNLOADED, ModelState.LOADING, ModelState.READY
BEGAN = 1000.0
DOWN = "down"


def a_server(kind: ServerKind = ServerKind.TRITON) -> ServerSpec:
    return ServerSpec("s", kind, "http://s", "http://s/metrics")


def a_fleet(kind: ServerKind = ServerKind.TRITON, created_at: float | None = None, phase: Phase = Phase.READY) -> Fleet:
    spec = a_server(kind)
    model = ModelSpec("m", "m", ("s",), Mode.ACT)
    member = Member(spec, "w", phase, created_at)
    return Fleet((spec,), (model,), members={} if created_at is None else {"s": member})


def a_reading(
    at: float, state: ModelState | str, instances: int = 1, *, incarnation: int = 0, load_s: float | None = None
) -> FleetReading:
    """The model in this state at `at`, the server down, or nothing known of it (an empty word)."""
    seen = ModelReading(
        state if isinstance(state, ModelState) else ABSENT,
        instances=Known(instances, at) if state is READY else Missing("not ready"),
        load_s=Missing("not exported") if load_s is None else Known(load_s, at),
    )
    signal: Signal[ModelReading] = Known(seen, at) if isinstance(state, ModelState) else Missing("no answer")
    live: Signal[bool] = Known(state != DOWN, at) if state else Missing("never read")
    server = ServerReading("s", live, Missing("not asked"), incarnation, {"m": signal})
    return FleetReading(at, {"s": server}, {}, {}, Missing("no driver"))


class Watched:
    """A book that has looked at some readings."""

    def __init__(self, fleet: Fleet | None = None) -> None:
        self.fleet = fleet or a_fleet()
        self.book = StartupBook(BEGAN)
        self.acted_at = float("-inf")

    def see(self, *readings: FleetReading) -> tuple[Startup, ...]:
        for reading in readings:
            self.book.look(self.fleet, reading, lambda _, since: self.acted_at >= since)
        return self.book.take()


def test_a_load_took_between_its_first_and_last_sight_and_the_sights_around_them() -> None:
    watched = Watched()
    states = [(5, UNLOADED), (10, LOADING), (15, LOADING), (20, LOADING), (25, READY), (30, READY)]
    (startup,) = watched.see(*(a_reading(at, state) for at, state in states))
    assert startup == Startup("m", "s", "load", 25, seconds=20, least_s=10)


def test_a_load_that_was_under_way_already_has_no_known_beginning() -> None:
    assert Watched().see(a_reading(5, LOADING), a_reading(10, READY)) == ()


def test_what_began_and_ended_between_two_readings_is_known_only_where_the_server_tells() -> None:
    assert Watched().see(a_reading(5, UNLOADED), a_reading(10, READY)) == ()
    (startup,) = Watched().see(a_reading(5, UNLOADED), a_reading(10, READY, load_s=1.3))
    assert (startup.seconds, startup.least_s) == (1.3, 1.3)


def test_a_figure_of_the_server_that_cannot_be_about_this_load_is_not_believed() -> None:
    readings = [a_reading(5, UNLOADED), a_reading(10, LOADING), a_reading(15, READY, load_s=90.0)]
    (startup,) = Watched().see(*readings)
    assert (startup.least_s, startup.seconds) == (0, 10)


def test_readings_missed_during_a_load_only_widen_its_bounds() -> None:
    readings = [
        a_reading(5, UNLOADED),
        a_reading(10, LOADING),
        a_reading(20, ""),
        a_reading(30, ""),
        a_reading(35, READY),
    ]
    (startup,) = Watched().see(*readings)
    assert (startup.least_s, startup.seconds) == (0, 30)


@pytest.mark.parametrize("end", [UNLOADED, ModelState.UNAVAILABLE])
def test_a_load_that_failed_is_no_start_up(end: ModelState) -> None:
    assert Watched().see(a_reading(5, UNLOADED), a_reading(10, LOADING), a_reading(15, end)) == ()


def test_a_restart_within_a_load_ends_it() -> None:
    readings = [a_reading(5, UNLOADED), a_reading(10, LOADING), a_reading(15, READY, incarnation=1)]
    assert Watched().see(*readings) == ()


def test_more_instances_came_within_a_reading_at_most() -> None:
    watched = Watched()
    (startup,) = watched.see(a_reading(5, READY, 2), a_reading(10, READY, 2), a_reading(15, READY, 4))
    assert startup == Startup("m", "s", "set_instances", 15, seconds=5, least_s=0)
    assert watched.see(a_reading(20, READY, 4), a_reading(25, READY, 1)) == ()


def test_instances_that_changed_while_nothing_was_read_teach_nothing() -> None:
    assert Watched().see(a_reading(5, READY, 2), a_reading(10, ""), a_reading(600, READY, 4)) == ()


def test_what_an_action_of_ours_did_is_told_by_the_action() -> None:
    watched = Watched()
    watched.acted_at = 12.0
    readings = [a_reading(5, UNLOADED), a_reading(10, LOADING), a_reading(15, READY), a_reading(20, READY, 3)]
    assert [(s.knob, s.at) for s in watched.see(*readings)] == [("set_instances", 20)]


def test_a_discovered_server_took_from_being_asked_for_to_its_first_ready_model() -> None:
    watched = Watched(a_fleet(ServerKind.VLLM, created_at=1001.0))
    readings = [a_reading(1005, DOWN), a_reading(1050, DOWN), a_reading(1055, ABSENT), a_reading(1060, READY)]
    (startup,) = watched.see(*readings)
    assert startup == Startup("m", "s", REPLICA, 1060, seconds=59, least_s=54, workload="w")
    assert watched.see(a_reading(1100, DOWN), a_reading(1110, READY)) == ()


def test_a_discovered_triton_serves_once_it_answers_whatever_is_loaded_then() -> None:
    watched = Watched(a_fleet(created_at=1001.0))
    (startup,) = watched.see(a_reading(1005, DOWN), a_reading(1010, UNLOADED), a_reading(9000, READY))
    assert (startup.knob, startup.least_s, startup.seconds) == (REPLICA, 4, 9)


def test_a_server_serves_only_once_what_discovered_it_says_so_too() -> None:
    watched = Watched(a_fleet(ServerKind.VLLM, 1001.0, Phase.STARTING))
    assert watched.see(a_reading(1005, DOWN), a_reading(1010, READY), a_reading(1015, READY)) == ()
    watched.fleet = a_fleet(ServerKind.VLLM, 1001.0)
    (startup,) = watched.see(a_reading(1020, READY))
    assert (startup.least_s, startup.seconds) == (14, 19)


def test_another_pod_of_the_same_name_starts_up_anew_though_nobody_looked_while_there_was_none() -> None:
    def fleet(uid: str, created_at: float) -> Fleet:
        member = Member(a_server(), "w", Phase.READY, created_at, pod_uid=uid)
        return replace(a_fleet(), members={"s": member})

    watched = Watched(fleet("first", 1010.0))
    assert len(watched.see(a_reading(1030, READY))) == 1
    watched.fleet = fleet("second", 1100.0)
    (startup,) = watched.see(a_reading(1105, DOWN), a_reading(1130, READY))
    assert (startup.knob, startup.least_s, startup.seconds) == (REPLICA, 5.0, 30.0)


def test_a_server_that_was_there_before_anybody_looked_teaches_nothing() -> None:
    watched = Watched(a_fleet(ServerKind.VLLM, created_at=BEGAN - 1))
    assert watched.see(a_reading(1005, DOWN), a_reading(1060, READY)) == ()


def test_a_server_that_left_is_forgotten() -> None:
    watched = Watched()
    watched.see(a_reading(5, UNLOADED), a_reading(10, LOADING))
    watched.see(replace(a_reading(15, READY), servers={}))
    assert watched.see(a_reading(20, READY)) == ()


def test_models_are_learned_from_again_once_something_new_is_written() -> None:
    book, fleet = StartupBook(BEGAN), a_fleet()
    assert book.unread(fleet) == ("m",)
    book.learn({"m": {}})
    assert book.unread(fleet) == ()
    book.written(["m", "other"])
    assert book.unread(fleet) == ("m",)
