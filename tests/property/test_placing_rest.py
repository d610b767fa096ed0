"""Placed models on small fleets with tight memory come to rest, wherever people want them, and say what is lacking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.decide.placing.handover import relied_on
from controlplane.domain.decision import Decision, ReasonCode
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.placing import Placement
from controlplane.domain.signal import known
from controlplane.domain.state import MemorySample, UnitState
from tests.unit.decide.placed_world import GIB, NOW, SERVICE_S, PlacedWorld, a_model

TICKS = 90
QUIET_TICKS = 10
SERVERS = ("t0", "t1", "t2")


@dataclass(frozen=True)
class Case:
    """Each model has `instances` on the server `at`, and people want it on the `wanted`, one after the other."""

    servers: int
    room_gib: int
    instances: tuple[int, ...]
    at: tuple[int, ...]
    wanted: tuple[tuple[int, ...], ...]
    load: tuple[float, ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    servers, models = draw(st.sampled_from((2, 2, 3))), draw(st.sampled_from((2, 3, 3, 4)))

    def each(element: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(st.lists(element, min_size=models, max_size=models)))

    at = each(st.integers(0, servers - 1))
    instances = each(st.integers(1, 5))
    full = max(sum(n for n, on in zip(instances, at, strict=True) if on == s) for s in range(servers))
    wanted = tuple(each(st.integers(0, servers - 1)) for _ in range(2))
    load = tuple(draw(st.sampled_from((0.6, 0.9))) for _ in range(models))
    return Case(servers, full + draw(st.integers(0, 2)), instances, at, wanted, load)


def world(case: Case) -> PlacedWorld:
    servers = SERVERS[: case.servers]
    names = "abcd"[: len(case.instances)]
    where = {name: servers[on] for name, on in zip(names, case.at, strict=True)}
    models = [a_model(name, None, servers, instances_max=8) for name in names]
    held = {server: [name for name in names if where[name] == server] for server in servers}
    made = PlacedWorld(dict.fromkeys(servers, case.room_gib), models, **held)
    made.counts = {(name, where[name]): count for name, count in zip(names, case.instances, strict=True)}
    each_gib = (MemorySample(0, 1, GIB), MemorySample(1, 2, GIB))
    units = {f"{m}@{s}": UnitState(wanted=True, instances=n, memory=each_gib) for (m, s), n in made.counts.items()}
    made.state = replace(made.state, units=units)
    most_per_s = [share * count * 0.8 / SERVICE_S for share, count in zip(case.load, case.instances, strict=True)]
    made.per_s = dict(zip(names, most_per_s, strict=True))
    made.most_instances = case.room_gib
    made.run(2)
    return made


def told(model: str, turn: int, server: str) -> Override:
    """A person's word, newer than that of the turn before."""
    at = NOW + turn * TICKS * 15
    return Override(f"{model}{turn}", model, OverrideKind.LOADED, "me", "by hand", at, at + 1e6, server=server)


def everywhere(held: Mapping[str, Iterable[str]]) -> set[str]:
    """All models that have a copy."""
    return {name for names in held.values() for name in names}


def is_a_try(decision: Decision) -> bool:
    """Whether it is tried what measured memory refuses, as is done ever more rarely where there is no room."""
    return any(reason.code is ReasonCode.ROOM_DOUBTED for reason in decision.reasons)


def says_why(decision: Decision) -> bool:
    """Whether a copy that is not where it is to be says what it waits for."""
    return any(
        reason.code is ReasonCode.NO_ROOM
        or (reason.code is ReasonCode.HANDOVER and "why" in reason.words)
        or (reason.code is ReasonCode.PLACED and {"moves_before", "copies_short"} & reason.numbers.keys())
        for reason in decision.reasons
    )


def fits_in_the_end(made: PlacedWorld, plan: Placement, room_gib: int) -> bool:
    """Whether there is memory for all that is to be, with the instances that those are to have which stay."""
    wanted = {(move.model, move.server): move.instances for move in plan.moves} | made.counts
    for decision in made.decisions:
        for server, instances in relied_on(decision.reasons).items():
            key = decision.model, server
            wanted[key] = max(wanted.get(key, 1), instances)
    return all(sum(wanted.get((m, s), 1) for m in models) <= room_gib for s, models in plan.target.items())


@settings(max_examples=4, deadline=None)
@given(cases())
@example(Case(2, 7, (6, 6), (0, 1), ((1, 0), (0, 1)), (0.87, 0.87)))
@example(Case(2, 2, (1, 1, 1, 1), (0, 1, 1, 0), ((0, 0, 0, 0), (0, 0, 0, 1)), (0.6, 0.6, 0.6, 0.6)))
@example(Case(3, 7, (6, 6, 6), (0, 1, 2), ((1, 2, 0), (2, 0, 1)), (0.87, 0.87, 0.87)))
def test_it_comes_to_rest_with_all_in_place_or_told_why_and_no_model_loses_its_last_copy(case: Case) -> None:
    made = world(case)
    servers = list(made.held)
    for turn, wanted in enumerate(case.wanted):
        made.overrides = tuple(
            told(model.name, turn, servers[s]) for model, s in zip(made.fleet.models, wanted, strict=True)
        )
        steps = []
        for _ in range(TICKS):
            had = everywhere(made.held)
            plan = known(made.plan)
            steps.append([d for d in made.tick() if d.actionable and not is_a_try(d)])
            for server, held in made.held.items():
                assert sum(made.counts.get((name, server), 1) for name in held) <= case.room_gib
            # who has no place, since people want others there, is not kept
            assert plan is None or had & everywhere(plan.target) <= everywhere(made.held)
        assert not any(steps[-QUIET_TICKS:]), steps
        plan = known(made.plan)
        assert plan is not None
        for decision in made.decisions:
            there, to_be = (
                decision.model in held for held in (made.held[decision.server], plan.target[decision.server])
            )
            assert there == to_be or says_why(decision), (decision, made.held, plan)
        in_place = all(set(plan.target[server]) == held for server, held in made.held.items())
        assert in_place or not fits_in_the_end(made, plan, case.room_gib), (made.held, made.counts, plan)
