"""Plans of layouts against every other plan, where there are few enough to try them all; and what always holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations_with_replacement, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import (
    WHOLE,
    Act,
    Assignment,
    Board,
    Gpu,
    MigModel,
    MigPlan,
    MigQuestion,
    Place,
    Slice,
    plan,
)
from controlplane.decide.mig.layouts import Layout, fits, layouts, legal, multiset
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.order import order

A30, H100, RTX = boards()["a30-24gb"], boards()["h100-80gb"], boards()["rtx-pro-6000-96gb"]
PROFILES = {
    A30: ("1g.6gb", "2g.12gb", WHOLE),
    H100: ("2g.20gb", "3g.40gb", WHOLE),
    RTX: ("1g.24gb+me.all", "2g.48gb-me", "4g.96gb", WHOLE),
}


def gpus(board: Board, most: int, *, priced: bool) -> st.SearchStrategy[tuple[Gpu, ...]]:
    layout = st.sampled_from([(), *layouts(board, PROFILES[board])])
    price = st.sampled_from([1.0, 2.5]) if priced else st.just(1.0)
    made = st.lists(st.tuples(layout, price), min_size=1, max_size=most)
    return made.map(lambda of: tuple(Gpu(f"{board.key}-{i}", board, one, cost) for i, (one, cost) in enumerate(of)))


def models(*names: str, share: bool = False) -> st.SearchStrategy[tuple[MigModel, ...]]:
    profiles = st.dictionaries(st.sampled_from(names), st.integers(1, 9), min_size=1)
    model = st.tuples(st.integers(0, 14), profiles, st.sampled_from([0, 5, 11, 30]))
    return st.lists(model, min_size=1, max_size=3).map(
        lambda of: tuple(MigModel(f"m{i}", d, p, gib, share) for i, (d, p, gib) in enumerate(of))
    )


@st.composite
def small(draw: st.DrawFn) -> MigQuestion:
    """One or two GPUs of one board, or of two."""
    one = draw(st.sampled_from([A30, H100, RTX]))
    other = draw(st.sampled_from([None, A30, H100]))
    fleet = draw(gpus(one, 2 if other is None else 1, priced=True))
    names: tuple[str, ...] = PROFILES[one]
    if other is not None and other is not one:
        fleet, names = fleet + draw(gpus(other, 1, priced=True)), (*names, *PROFILES[other])
    return MigQuestion(fleet, draw(models(*names)))


def best(question: MigQuestion) -> tuple[float, float, int, tuple[float, int]]:
    """Unserved, price, changed slices and room of the best of all plans, by trying every one."""
    options = []
    for gpu in question.gpus:
        names = PROFILES[gpu.board]
        options.append(
            [((), 0.0, gpu.layout), *((used, gpu.price, after(gpu, used)) for used in layouts(gpu.board, names))]
        )
    served: dict[tuple[tuple[Board, str], ...], float] = {}
    found = []
    for chosen in product(*options):
        slices = sorted(
            (
                (gpu.board, piece.profile)
                for gpu, (used, _, _) in zip(question.gpus, chosen, strict=True)
                for piece in used
            ),
            key=lambda s: (s[0].key, s[1]),
        )
        key = tuple(slices)
        if key not in served:
            served[key] = least_unserved(question, key)
        price = sum(cost for _, cost, _ in chosen)
        changed = sum(len(set(g.layout) ^ set(to)) for g, (_, _, to) in zip(question.gpus, chosen, strict=True))
        room = max(largest(gpu.board, to) for gpu, (_, _, to) in zip(question.gpus, chosen, strict=True))
        found.append((served[key], price, changed, (-room[0], -room[1])))
    unserved, price, changed, room = min(found)
    return unserved, price, changed, (-room[0], -room[1])


def after(gpu: Gpu, used: Layout) -> Layout:
    return tuple(sorted({*used, *(p for p in gpu.layout if p not in used and fits(gpu.board, used, p))}))


def largest(board: Board, layout: Layout) -> tuple[float, int]:
    open_ = [p for p in board.placements() if p.profile != WHOLE and fits(board, layout, p)]
    return max((board.rank(p.profile) for p in open_), default=(0.0, 0))


def least_unserved(question: MigQuestion, slices: tuple[tuple[Board, str], ...]) -> float:
    """Every way of giving each slice to a model or to none; equal slices in any order."""
    wanted = [m for m in question.models if m.demand > 0]
    kinds = Counter(slices)
    ways = [list(combinations_with_replacement(range(len(wanted) + 1), count)) for count in kinds.values()]
    least = sum(m.demand for m in wanted)
    for way in product(*ways):
        got = [0.0] * (len(wanted) + 1)
        for (board, profile), owners in zip(kinds, way, strict=True):
            for owner in owners:
                if owner < len(wanted) and wanted[owner].min_memory_gib <= board.memory_gib(profile):
                    got[owner] += capacity_on(wanted[owner], board, profile)
        least = min(least, sum(max(0.0, m.demand - g) for m, g in zip(wanted, got, strict=False)))
    return least


@settings(max_examples=25, deadline=None)
@given(small())
def test_no_plan_is_better(question: MigQuestion) -> None:
    planned = plan(question)
    goals = {goal.name: goal for goal in planned.goals}
    unserved, price, changed, room = best(question)
    assert goals["unserved"].value == pytest.approx(unserved, rel=1e-5)  # as near as the solver looks
    assert sum(u.short for u in planned.unserved) == pytest.approx(unserved)
    assert price_of(question, planned) == pytest.approx(price)
    assert planned.optimal
    assert planned.cost.bound == pytest.approx(price)
    assert changed_slices(question, planned) == changed
    assert max(largest(g.board, planned.layouts[g.uuid]) for g in question.gpus) == room
    assert all(goal.gap == 0 for goal in planned.goals)


def price_of(question: MigQuestion, planned: MigPlan) -> float:
    used = {a.place.uuid for a in planned.assignments}
    return sum(gpu.price for gpu in question.gpus if gpu.uuid in used)


def changed_slices(question: MigQuestion, planned: MigPlan) -> int:
    return sum(len(set(gpu.layout) ^ set(planned.layouts[gpu.uuid])) for gpu in question.gpus)


@st.composite
def occupied(draw: st.DrawFn) -> MigQuestion:
    """Up to six GPUs of two boards, with models on some of their slices, some of which share."""
    fleet = (*draw(gpus(A30, 3, priced=False)), *draw(gpus(H100, 3, priced=False)))
    names = (*PROFILES[A30], *PROFILES[H100])
    wanted = draw(models(*names))
    sharing = draw(models(*names, share=True))
    wanted += tuple(
        MigModel(f"s{i}", m.demand, m.profiles, m.min_memory_gib, share=True) for i, m in enumerate(sharing)
    )
    owner = st.one_of(st.none(), st.sampled_from([m.name for m in wanted]))
    placed = []
    for gpu in fleet:
        on = {piece: name for piece in gpu.layout if (name := draw(owner)) is not None}
        placed.append(Gpu(gpu.uuid, gpu.board, gpu.layout, 1.0, {piece: (name,) for piece, name in on.items()}))
    return MigQuestion(tuple(placed), wanted)


@settings(max_examples=30, deadline=None)
@given(occupied())
def test_plans_keep_the_rules_at_every_step(question: MigQuestion) -> None:
    planned = plan(question)
    by_uuid = {gpu.uuid: gpu for gpu in question.gpus}
    there = {Place(gpu.uuid, piece) for gpu in question.gpus for piece in gpu.layout}
    copies = {(n, Place(g.uuid, piece)) for g in question.gpus for piece, names in g.models.items() for n in names}
    stay = there & {Place(uuid, piece) for uuid, layout in planned.layouts.items() for piece in layout}
    for step in planned.steps:
        if step.act is Act.CREATE:
            assert step.place not in there
            there.add(step.place)
            assert legal(by_uuid[step.place.uuid].board, on(step.place.uuid, there))
        elif step.act is Act.DESTROY:
            assert step.place not in {place for _, place in copies} | stay
            there.remove(step.place)
        elif step.act is Act.START:
            assert step.place in there
            copies.add((step.model, step.place))
        else:
            copies.remove((step.model, step.place))
    assert {uuid: on(uuid, there) for uuid in by_uuid} == planned.layouts
    assert copies == {(a.model, a.place) for a in planned.assignments}


def on(uuid: str, places: set[Place]) -> Layout:
    return tuple(sorted(place.piece for place in places if place.uuid == uuid))


@settings(max_examples=30, deadline=None)
@given(occupied())
def test_a_model_has_no_less_capacity_meanwhile_unless_a_step_says_so(question: MigQuestion) -> None:
    planned = plan(question)
    wanted = {m.name: m for m in question.models}
    boards_of = {gpu.uuid: gpu.board for gpu in question.gpus}
    full = {(a.model, a.place): a.capacity for a in planned.assignments}

    def serves(name: str, place: Place) -> float:
        return full.get((name, place), capacity_on(wanted[name], boards_of[place.uuid], place.piece.profile))

    copies = {(n, Place(g.uuid, piece)) for g in question.gpus for piece, names in g.models.items() for n in names}

    def capacity(name: str) -> float:
        return sum(serves(n, place) for n, place in copies if n == name)

    before = {name: capacity(name) for name in wanted}
    after_all = {name: sum(c for (n, _), c in full.items() if n == name) for name in wanted}
    interrupted: set[str] = set()
    for step in planned.steps:
        if step.act is Act.START:
            copies.add((step.model, step.place))
        elif step.act is Act.DRAIN:
            copies.remove((step.model, step.place))
            interrupted |= {step.model} if step.interrupts else set()
            if step.model not in interrupted:
                assert capacity(step.model) >= min(before[step.model], after_all[step.model]) * (1 - 1e-6)


@settings(max_examples=30, deadline=None)
@given(occupied())
def test_who_shares_a_slice_fits_on_it(question: MigQuestion) -> None:
    planned = plan(question)
    wanted: Mapping[str, MigModel] = {m.name: m for m in question.models}
    boards_of = {gpu.uuid: gpu.board for gpu in question.gpus}
    for place in {a.place for a in planned.assignments}:
        here = [a for a in planned.assignments if a.place == place]
        assert place.piece in planned.layouts[place.uuid]
        assert len(here) == 1 or all(wanted[a.model].share for a in here)
        assert sum(a.share for a in here) <= 1 + 1e-6
        memory = boards_of[place.uuid].memory_gib(place.piece.profile)
        assert sum(wanted[a.model].min_memory_gib for a in here) <= memory + 1e-6
        for a in here:
            full = capacity_on(wanted[a.model], boards_of[place.uuid], place.piece.profile)
            assert a.capacity == pytest.approx(a.share * full)
    for name, model in wanted.items():
        served = sum(a.capacity for a in planned.assignments if a.model == name)
        short = sum(u.short for u in planned.unserved if u.model == name)
        assert served + short >= model.demand * (1 - 1e-5)


@settings(max_examples=10, deadline=None)
@given(occupied(), st.randoms(use_true_random=False))
def test_the_same_question_in_any_order_has_the_same_plan(question: MigQuestion, random: Random) -> None:
    fleet, wanted = list(question.gpus), list(question.models)
    random.shuffle(fleet)
    random.shuffle(wanted)
    assert plan(MigQuestion(tuple(fleet), tuple(wanted))) == plan(question)


def carried_out(question: MigQuestion, planned: MigPlan) -> MigQuestion:
    on_ = {(a.place.uuid, a.place.piece): (a.model,) for a in planned.assignments}
    fleet = tuple(
        Gpu(g.uuid, g.board, planned.layouts[g.uuid], g.price, {p: n for (uuid, p), n in on_.items() if uuid == g.uuid})
        for g in question.gpus
    )
    return MigQuestion(fleet, question.models)


@settings(max_examples=10, deadline=None)
@given(small())
def test_what_was_planned_stays_as_it_is_while_the_same_is_asked(question: MigQuestion) -> None:
    done = carried_out(question, plan(question))
    again = plan(done)
    assert again.steps == ()
    assert all(goal.gap == 0 for goal in again.goals if goal.name == "drained_copies")


@st.composite
def running(draw: st.DrawFn) -> MigQuestion:
    """One A30 whose slices have models."""
    wanted = draw(models(*PROFILES[A30]))
    layout = draw(st.sampled_from([one for one in layouts(A30, PROFILES[A30]) if one]))
    on_ = {piece: (draw(st.sampled_from([model.name for model in wanted])),) for piece in layout}
    return MigQuestion((Gpu("g", A30, layout, 1.0, on_),), wanted)


def fewest_drained(question: MigQuestion) -> int:
    """Of all ways to serve all, whoever has each slice of each layout."""
    (gpu,), wanted = question.gpus, [m for m in question.models if m.demand > 0]
    found = []
    for layout in layouts(A30, PROFILES[A30]):
        for owners in product([None, *wanted], repeat=len(layout)):
            got = dict.fromkeys([model.name for model in wanted], 0.0)
            for piece, owner in zip(layout, owners, strict=True):
                if owner is not None:
                    got[owner.name] += serves(owner, piece)
            if sum(max(0.0, model.demand - got[model.name]) for model in wanted) <= 1e-6:
                kept = {(p, (o.name,)) for p, o in zip(layout, owners, strict=True) if o is not None and serves(o, p)}
                found.append(len(set(gpu.models.items()) - kept))
    return min(found)


def serves(model: MigModel, piece: Slice) -> float:
    fits_in = model.min_memory_gib <= A30.memory_gib(piece.profile)
    return capacity_on(model, A30, piece.profile) if fits_in else 0.0


@settings(max_examples=40, deadline=None)
@given(running())
def test_no_way_to_serve_all_drains_fewer_copies(question: MigQuestion) -> None:
    """Where demand is left unserved the solver's tolerances of how much decide which copies go."""
    planned = plan(question)
    goals = {goal.name: goal for goal in planned.goals}
    if goals["cost"].value == 1.0 and not planned.unserved:
        least = fewest_drained(question)
        drained = sum(step.act is Act.DRAIN and not step.temporary for step in planned.steps)
        assert goals["drained_copies"].bound <= least == drained == goals["drained_copies"].value, (
            least,
            drained,
            goals,
        )


def test_of_the_places_for_the_same_slices_those_are_taken_where_the_fewest_copies_go() -> None:
    small = [Slice("1g.6gb", start) for start in range(3)]
    gpu = Gpu("g", A30, tuple(small), models=dict(zip(small, (("a",), ("a",), ("b",)), strict=True)))
    planned = plan(MigQuestion((gpu,), (MigModel("a", 1, {"2g.12gb": 1}), MigModel("b", 1, {"1g.6gb": 1}))))
    assert [(step.act, step.model) for step in planned.steps if step.model] == [
        (Act.DRAIN, "a"),
        (Act.DRAIN, "a"),
        (Act.START, "a"),
    ], "one slice fewer would change with `a` at 2, where `b` is"


def test_copies_stay_where_they_are_when_others_come_or_are_no_longer_needed() -> None:
    pieces = (Slice("1g.10gb", 0), Slice("1g.10gb", 1), Slice("2g.20gb", 2))
    here = dict(zip(pieces, (("a",), ("a",), ("b",)), strict=True))
    serves = {"1g.10gb": 5, "2g.20gb": 10}
    gpu = Gpu("g", H100, pieces, models=here)
    rises = plan(MigQuestion((gpu,), (MigModel("a", 5, serves), MigModel("b", 15, serves))))
    assert [(step.act, step.model) for step in rises.steps] == [(Act.CREATE, ""), (Act.START, "b")]
    frees = plan(MigQuestion((Gpu("f", H100), gpu), (MigModel("a", 1, serves), MigModel("b", 1, serves))))
    assert frees.steps == (), "nobody needs their room"
    two = (Gpu("f", H100, pieces[:1], models={pieces[0]: ("b",)}), gpu)
    fewer = plan(MigQuestion(two, (MigModel("a", 1, serves), MigModel("b", 1, serves))))
    assert [(step.act, step.place.uuid) for step in fewer.steps] == [(Act.DRAIN, "f")], "a GPU is free without it"


def test_models_that_could_as_well_have_each_others_slices_keep_their_own() -> None:
    serves_, pieces = {"1g.10gb": 5, "2g.20gb": 10}, [Slice("1g.10gb", 0), Slice("1g.10gb", 1)]
    pieces += [Slice("2g.20gb", 2), Slice("2g.20gb", 4)]
    owners = {"f": ("m5", "m5", "m0", "m3"), "g": ("m1", "m1", "m4", "m2")}
    fleet = tuple(
        Gpu(uuid, H100, tuple(pieces), models={p: (name,) for p, name in zip(pieces, names, strict=True)})
        for uuid, names in owners.items()
    )
    asked = MigQuestion(fleet, tuple(MigModel(f"m{i}", 10, serves_) for i in range(6)))
    assert plan(asked).steps == ()
    more = MigQuestion(fleet, (*asked.models[:5], MigModel("m5", 14, serves_)))
    assert [(step.act, step.model) for step in plan(more).steps if step.model] == [(Act.START, "m5")]


def test_where_somebody_must_be_interrupted_it_is_who_is_missed_least() -> None:
    large, one, two = Slice("2g.12gb", 0), Slice("1g.6gb", 2), Slice("1g.6gb", 3)
    gpu = Gpu("g", A30, (one, two, large), models={large: ("a",), one: ("b",), two: ("b",)})
    models = (MigModel("a", 4, {"1g.6gb": 2, "2g.12gb": 4}), MigModel("b", 3, {"1g.6gb": 2, "2g.12gb": 3}))
    swapped = [Assignment("b", Place("g", large), 3.0)]
    swapped += [Assignment("a", Place("g", piece), 2.0) for piece in (one, two)]
    first = order([gpu], models, {"g": gpu.layout}, swapped)[0]
    assert (first.act, first.model, first.interrupts) == (Act.DRAIN, "b", True), "half a copy is missed, not all of one"


def test_slices_that_nobody_needs_are_not_created() -> None:
    planned = plan(MigQuestion((Gpu("g", H100),), (MigModel("m", 10, {"1g.10gb": 5}),)))
    assert multiset(planned.layouts["g"]) == ("1g.10gb", "1g.10gb")
    assert fits(H100, planned.layouts["g"], Slice("4g.40gb", 0))


def test_of_very_many_that_share_not_all_sets_are_looked_at_and_nothing_false_is_proved() -> None:
    sharing = tuple(MigModel(f"s{i:02d}", 1, {"2g.12gb": 9}, 1 + i / 20, share=True) for i in range(20))
    planned = plan(MigQuestion(tuple(Gpu(f"g{i}", A30) for i in range(4)), sharing))
    assert planned.unserved == ()
    # 29.5 GiB of models, 11.69 GiB a slice, two slices a GPU
    assert planned.gpus_used >= 2
    assert planned.cost.bound <= 2
