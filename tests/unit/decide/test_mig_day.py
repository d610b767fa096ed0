"""A few simulated hours of changing demand by the rules of the loop, against layouts that never change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from bench.mig_day import simulate
from bench.mig_fleet import Fleet, Ledger
from bench.mig_policies import fixed, planned
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import MigPlan, Place
from controlplane.decide.mig.worth import BY_NVML
from controlplane.domain.mig import Act

A30, GPUS, DAYS, SEED = boards()["a30-24gb"], 4, 0.15, 2
CUTS = {Act.CREATE: BY_NVML.create_s, Act.DESTROY: BY_NVML.destroy_s}


@cache
def by_plans() -> tuple[Ledger, float]:
    """What came of it, and the seconds of all cuts but those of the first quarter of an hour, which is not counted."""
    cut_s = 0.0

    def watched(fleet: Fleet, wanted: Mapping[str, float], now: float) -> None:
        nonlocal cut_s
        layouts = {uuid: set(layout) for uuid, layout in fleet.layouts.items()}
        copies = {(copy.model, copy.place): copy.ready_at for copy in fleet.here(now)}
        found = carried_out(fleet, wanted, now)
        if found is None:
            return
        keeps = {(a.model, a.place) for a in found.assignments} & set(copies)
        stay = {Place(uuid, piece) for uuid, here in layouts.items() for piece in here & set(found.layouts[uuid])}
        assert not stay & {step.place for step in found.steps if step.act in CUTS}
        after = {(copy.model, copy.place): copy for copy in fleet.here(fleet.busy_until)}
        assert all(after[copy].ready_at == copies[copy] for copy in keeps), "what stays answers all the time"
        assert {uuid: tuple(sorted(layout)) for uuid, layout in fleet.layouts.items()} == found.layouts
        cut_s += sum(CUTS.get(step.act, 0.0) for step in found.steps) if now > 2 * 300 else 0.0

    return simulate(A30, GPUS, watched, BY_NVML, DAYS, SEED), cut_s


def carried_out(fleet: Fleet, wanted: Mapping[str, float], now: float) -> MigPlan | None:
    """The plan that the policy carried out, if it did."""
    done: list[MigPlan] = []
    with pytest.MonkeyPatch.context() as patched:
        carry_out = Fleet.carry_out

        def kept(fleet: Fleet, plan: MigPlan, now: float) -> None:
            done.append(plan)
            carry_out(fleet, plan, now)

        patched.setattr(Fleet, "carry_out", kept)
        planned(fleet, wanted, now)
    return done[0] if done else None


def test_plans_serve_more_per_gpu_hour_than_layouts_that_never_change_and_attain_more() -> None:
    ours, _ = by_plans()
    never = simulate(A30, GPUS, fixed, BY_NVML, DAYS, SEED)
    assert ours.asked == pytest.approx(never.asked)
    assert ours.served / ours.gpu_s > never.served / never.gpu_s
    assert ours.served > never.served
    assert (never.created, never.destroyed, never.cutting_s) == (0, 0, 0.0)


def test_the_seconds_of_every_cut_are_counted() -> None:
    ours, cut_s = by_plans()
    assert ours.created
    assert ours.cutting_s == pytest.approx(cut_s)
    assert ours.cutting_s == pytest.approx(ours.created * BY_NVML.create_s + ours.destroyed * BY_NVML.destroy_s)
