"""Plans that are broken off at any step, one after the other: how many GPUs are out of service at every moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.rounds import most_gpus
from controlplane.decide.mig.still_out import still_out
from controlplane.domain.layouts import LayoutPlan, LayoutStep, MigMemory
from controlplane.store.codec import MIG_MEMORY
from tests.property.test_mig_changes import anew
from tests.unit.loop.mig_node import OFF, Nodes

H100 = boards()["h100-80gb"]
LAYOUTS = (
    (OFF,),
    (Slice("3g.40gb", 0), Slice("3g.40gb", 4)),
    (Slice("4g.40gb", 0), Slice("3g.40gb", 4)),
    tuple(Slice("1g.10gb", start) for start in range(7)),
    (Slice("2g.20gb", 0), Slice("2g.20gb", 2), Slice("3g.40gb", 4)),
)
NAMES = ("a", "b", "c")


def a_fleet(random: Random) -> tuple[Gpu, ...]:
    """Four to eight GPUs, most slices with a copy."""
    gpus = []
    for at in range(random.choice((4, 6, 8))):
        layout = random.choice(LAYOUTS)
        on = {piece: (random.choice(NAMES),) for piece in layout if random.random() < 0.8}
        gpus.append(Gpu(f"GPU-{at}", H100, layout, 1.0, on))
    return tuple(gpus)


def wishes(random: Random) -> tuple[MigModel, ...]:
    """What is asked of the three models, and what a copy of each serves."""
    made = []
    for name in NAMES:
        large = {
            "3g.40gb": random.choice((15.0, 25.0)),
            "4g.40gb": random.choice((20.0, 30.0)),
            "whole": random.choice((30.0, 60.0)),
        }
        made.append(MigModel(name, random.choice((10, 30, 60, 90)), {"1g.10gb": 5.0, "2g.20gb": 10.0, **large}, 6.0))
    return tuple(made)


def together(plan: LayoutPlan, uuids: Iterable[str]) -> set[str]:
    """These, and the GPUs that have to be taken out of service for them to come to the end of their steps."""
    own: defaultdict[str, list[LayoutStep]] = defaultdict(list)
    for step in plan.steps:
        own[step.uuid].append(step)
    order = {id(step): at for of in own.values() for at, step in enumerate(sorted(of, key=lambda s: s.wave))}
    takes = {uuid: min((s.wave for s in of if s.takes_away), default=None) for uuid, of in own.items()}
    found, look, seen = set(uuids), [step for uuid in uuids for step in own[uuid]], set[int]()
    while look:
        step = look.pop()
        if id(step) in seen:
            continue
        seen.add(id(step))
        first = takes[step.uuid]
        if first is not None and step.wave >= first and step.uuid not in found:
            found.add(step.uuid)
            look += own[step.uuid]
        look += (other for other in own[step.uuid] if order[id(other)] < order[id(step)])
        if step.action == "drain":
            look += (s for s in plan.steps if s.action == "start" and s.model == step.model and s.wave < step.wave)
    return found


def carry_out(nodes: Nodes, steps: Sequence[LayoutStep], stop: int) -> Iterator[tuple[LayoutStep, set[str], set[str]]]:
    """The first `stop` steps; after each, it, the GPUs that are out of service by this plan, and those that ended."""
    left, out = Counter(step.uuid for step in steps), set[str]()
    for _, wave in groupby(steps[:stop], key=lambda step: step.wave):
        of = tuple(wave)
        for step in of:
            piece = Slice(step.profile, step.start)
            if step.model:
                has = (step.model, step.uuid, piece)
                (nodes.copies.add if step.action == "start" else nodes.copies.remove)(has)
            else:
                (nodes.slices[step.uuid].add if step.action == "create" else nodes.slices[step.uuid].remove)(piece)
            out |= {step.uuid} if step.takes_away else set()
            yield step, out, {uuid for uuid in left if not left[uuid]}
            left[step.uuid] -= 1
        out -= {uuid for uuid in left if not left[uuid]}


def has(nodes: Nodes, uuid: str) -> set[object]:
    return {*nodes.slices[uuid], *((name, piece) for name, at, piece in nodes.copies if at == uuid)}


def wanted(plan: LayoutPlan, uuid: str) -> set[object]:
    pieces = {Slice(of.profile, of.start): of.models for of in plan.layouts[uuid]}
    return {*pieces, *((name, piece) for piece, names in pieces.items() for name in names)}


def explained(plan: LayoutPlan, of_round: Collection[str], out: set[str], before: set[str], ended: set[str]) -> bool:
    """Whether what is out beyond the bound may be: it was out before, is needed for that, or needs each other."""
    new = out - before
    if new <= together(plan, before):
        return True
    return new <= set(of_round) and all(together(plan, {uuid}) - ended >= set(of_round) - ended for uuid in of_round)


@settings(max_examples=14, deadline=None)
@given(st.randoms(use_true_random=True), st.sampled_from((0.01, 0.25)))
def test_no_more_gpus_are_out_of_service_than_may_be_whatever_breaks_off_plans(random: Random, share: float) -> None:
    """One is, from the first thing taken from it on, until it has all that the plan of then wants there."""
    gpus = a_fleet(random)
    nodes, before, most = Nodes.of(gpus), frozenset[str](), most_gpus(share, len(gpus))
    for _ in range(5):
        question = anew(MigQuestion(gpus, wishes(random)), nodes)
        plan = propose(MigAsk(question, 3600.0, max_share=share, out=before))
        had = {gpu.uuid: has(nodes, gpu.uuid) for gpu in gpus}
        lacking = {uuid for uuid in before if not wanted(plan, uuid) <= had[uuid]}
        for step, out, ended in carry_out(nodes, plan.steps, random.randint(0, 2 * len(plan.steps))):
            left = {uuid for uuid in lacking if not wanted(plan, uuid) <= has(nodes, uuid)}
            if len(out | left) > most and not out | left <= lacking:
                of_round = {s.uuid for s in plan.steps if s.round == step.round and s.takes_away}
                assert explained(plan, of_round, out | left, left, ended), (step, out, left)
        lacks = {gpu.uuid for gpu in gpus if not wanted(plan, gpu.uuid) <= has(nodes, gpu.uuid)}
        taken = {uuid for uuid in lacks if not had[uuid] <= has(nodes, uuid)}
        kept = MIG_MEMORY.load(MIG_MEMORY.dump(MigMemory(plan, before)))  # a new process goes on
        assert kept.plan is not None
        after = still_out(kept.plan, kept.out, anew(question, nodes).gpus)
        assert after == taken | (lacks & before), "what they have now tells it"
        before = after


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=True), st.sampled_from((0.01, 0.25)))
def test_a_plan_tells_when_more_are_out_at_a_time_than_may_be(random: Random, share: float) -> None:
    gpus, models = a_fleet(random), wishes(random)
    plan, most = propose(MigAsk(MigQuestion(gpus, models), 3600.0, max_share=share)), most_gpus(share, len(gpus))
    nodes = Nodes.of(gpus)
    seen = max((len(out) for _, out, _ in carry_out(nodes, plan.steps, len(plan.steps))), default=0)
    told = [reason for reason in plan.reasons if "are out of service at a time" in reason]
    assert len(told) == (plan.rounds > 1 or seen > most)
    for reason in told:
        assert f"{seen} of {len(gpus)} GPUs at most are out of service at a time" in reason
        assert (f", not {most} (mig.max_share): they need each other's room" in reason) == (seen > most)
