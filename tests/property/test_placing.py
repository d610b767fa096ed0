"""Placements are the best there are, can be reached in the order given, and never overfill a server on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, groupby
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.placing import Limits, ModelNeed, PlacementQuestion, ServerRoom, place
from controlplane.decide.placing.order import order
from controlplane.decide.placing.search import search
from controlplane.decide.placing.space import MIB, Pair, Space, space_of
from controlplane.domain.decision import Step

NAMES = ("a", "b", "c")
EXACT = Limits(balance_gap=0.0, nodes=10_000)

sizes = st.one_of(st.integers(1, 6).map(lambda n: n * MIB), st.none())
needs = st.builds(
    ModelNeed,
    name=st.just(""),
    memory_bytes=sizes,
    copies=st.integers(0, 3),
    servers=st.sets(st.sampled_from(NAMES), min_size=1).map(lambda names: tuple(sorted(names))),
    priority=st.integers(0, 1),
    pins=st.sampled_from(((), (), (), ("a",))),
    busy_share=st.sampled_from((None, 0.25, 0.5)),
    extra=st.integers(0, 3),
)


@st.composite
def questions(draw: st.DrawFn, most_models: int = 4) -> PlacementQuestion:
    drawn = draw(st.lists(needs, min_size=1, max_size=most_models))
    models = [replace(n, name=f"m{i}", extra=min(n.extra, n.copies)) for i, n in enumerate(drawn)]
    names = [*(model.name for model in models), "not ours"]
    rooms = []
    for name in NAMES:
        here = draw(st.sets(st.sampled_from(names), max_size=2))
        room = ServerRoom(
            name,
            draw(st.one_of(st.integers(2, 12).map(lambda n: n * MIB), st.none())),
            dict.fromkeys(sorted(here), 1),
            pinned=draw(st.integers(0, 5)) == 0,
            taken_bytes={model: draw(st.integers(1, 6)) * MIB for model in sorted(here) if draw(st.booleans())},
        )
        rooms.append(room)
    return PlacementQuestion(tuple(rooms), tuple(models), EXACT)


def possible(space: Space) -> Iterator[frozenset[Pair]]:
    """Every choice that the memory, the copies and what must stay allow."""
    free = [pair for pair in space.pairs if pair not in space.held]
    for more in chain.from_iterable(combinations(free, n) for n in range(len(free) + 1)):
        chosen = space.held | set(more)
        copies = Counter(m for m, _ in chosen)
        if any(copies[m] > most for m, most in enumerate(space.most)):
            continue
        taken = [space.taken(chosen, s) for s in range(len(space.servers))]
        if all(taken[s] <= space.room[s] for s in range(len(space.servers))):
            yield chosen


def worth(space: Space, chosen: frozenset[Pair]) -> tuple[float, ...]:
    """The goals in their order, the less the better: written down once more, by another hand."""
    copies = Counter(m for m, _ in chosen)
    values: list[float] = [len(space.pins - chosen)]
    levels = sorted({model.priority for model in space.models}, reverse=True)
    for level in levels:
        mine = [m for m, model in enumerate(space.models) if model.priority == level and space.first[m] > 0]
        values += [sum(copies[m] == 0 for m in mine), sum(max(0, space.first[m] - copies[m]) for m in mine)]
    for level in levels:
        mine = [m for m, model in enumerate(space.models) if model.priority == level and space.most[m] > space.first[m]]
        values.append(sum(space.most[m] - copies[m] for m in mine))
    shares = [model.busy_share for model in space.models if model.busy_share is not None]
    busy = Counter[int]()
    for m, s in chosen:
        share = space.models[m].busy_share
        busy[s] += int(100 * (max(shares, default=0.0) if share is None else share))
    return (*values, len(chosen - space.present), max(busy.values(), default=0))


@settings(max_examples=60, deadline=None)
@given(questions(most_models=3))
def test_what_is_chosen_is_as_good_as_the_best_of_all_choices(question: PlacementQuestion) -> None:
    space = space_of(question)
    chosen, goals = search(space, frozenset(), question.limits)
    best = min((worth(space, choice) for choice in possible(space)), default=())
    assert worth(space, chosen) == best
    assert all(goal.gap < 1e-6 for goal in goals)


@settings(max_examples=150, deadline=None)
@given(questions(most_models=3), st.randoms(use_true_random=False))
def test_the_way_to_any_possible_target_is_safe_as_far_as_it_goes(question: PlacementQuestion, draw: Random) -> None:
    space = space_of(question)
    target = draw.choice(list(possible(space)))
    moves, stuck = order(space, target)
    ours = {(m, s) for m, s in space.present}
    names = [model.name for model in space.models]
    before, after = (Counter(m for m, _ in pairs) for pairs in (ours, target))
    for _, wave in groupby(moves, key=lambda move: move.wave):
        for move in wave:
            ours ^= {(names.index(move.model), NAMES.index(move.server))}
        copies = Counter(m for m, _ in ours)
        assert all(copies[m] >= min(before[m], after[m]) for m in range(len(names)))
        assert all(space.taken(ours, s) <= space.room[s] for s in range(len(NAMES)))
    assert target - ours == stuck
    assert stuck or ours == target


@settings(max_examples=100, deadline=None)
@given(questions())
def test_the_moves_lead_from_what_is_to_the_target_and_are_safe_all_the_way(question: PlacementQuestion) -> None:
    placement, space = place(question), space_of(question)
    known = {model.name: m for m, model in enumerate(space.models)}
    ours = {(space.models[m].name, space.servers[s].name) for m, s in space.present}
    loaded = set(ours)
    target = {(model, server) for server, models in placement.target.items() for model in models}
    others = {(model, server.name) for server in question.servers for model in server.present} - ours
    assert others <= target, "what is not known or not ours stays"
    target -= others
    before, after = (Counter(model for model, _ in pairs) for pairs in (loaded, target))
    for _, wave in groupby(placement.moves, key=lambda move: move.wave):
        moves = list(wave)
        assert len({move.step for move in moves}) == 1
        for move in moves:
            pair = (move.model, move.server)
            assert (pair in loaded) == (move.step is Step.UNLOAD)
            loaded ^= {pair}
        copies = Counter(model for model, _ in loaded)
        assert all(copies[model] >= min(before[model], after[model]) for model in known)
        for s, server in enumerate(space.servers):
            assert sum(space.size_of((known[m], s)) for m, on in loaded if on == server.name) <= space.room[s]
    assert loaded == target
    assert not {move.server for move in placement.moves} & {server.name for server in question.servers if server.pinned}
    assert place(question) == placement


@settings(max_examples=60, deadline=None)
@given(questions(most_models=3))
def test_bounds_hold_and_what_is_left_out_is_told(question: PlacementQuestion) -> None:
    placement, space = place(question), space_of(question)
    best = min((worth(space, choice) for choice in possible(space)), default=())
    index = {(m.name, s.name): (i, j) for i, m in enumerate(space.models) for j, s in enumerate(space.servers)}
    target = frozenset(
        index[model, server]
        for server, models in placement.target.items()
        for model in models
        if (model, server) in index and index[model, server] in space.pairs
    )
    assert worth(space, target) >= best
    copies = Counter(m for m, _ in target)
    short = {entry.model for entry in placement.unplaced}
    for m, model in enumerate(space.models):
        pinned = {pair for pair in space.pins if pair[0] == m}
        assert (model.name in short) == (copies[m] < space.most[m] or not pinned <= target)
    for entry in placement.unplaced:
        if entry.short_bytes is not None:
            assert entry.short_bytes > 0
