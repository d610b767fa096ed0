"""Plans without the copies whose start failed before: what goes on, what waits with them, and what counts as out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.still_out import still_out
from controlplane.domain.layouts import LayoutPlan

H100 = boards()["h100-80gb"]
OFF = Slice("whole", 0)
SMALL = MigModel("small", 10.0, {"1g.10gb": 5.0, "whole": 5.0}, 6.0)
LARGE = MigModel("large", 8.0, {"4g.40gb": 8.0}, 30.0)
EMPTY = Gpu("GPU-a", H100)


def ask(gpus: Iterable[Gpu], *models: MigModel, **others: object) -> MigAsk:
    return MigAsk(MigQuestion(tuple(gpus), models), 3600.0, **others)  # type: ignore[arg-type]


def told(plan: LayoutPlan) -> list[tuple[str, str, str]]:
    return [(step.action, step.profile, step.model) for step in plan.steps]


def test_what_else_is_to_come_on_the_same_gpu_comes_and_no_slice_for_what_failed() -> None:
    asked = ask([EMPTY], SMALL, LARGE, resting=frozenset({("large", "GPU-a")}), behind=frozenset({"large"}))
    plan = propose(asked)
    assert told(plan) == [*[("create", "1g.10gb", "")] * 2, *[("start", "1g.10gb", "small")] * 2]
    assert plan.pays
    assert (plan.short_then_per_s, plan.cost) == ({"small": 0.0, "large": 8.0}, 1.0)
    assert "1 GPUs wait in part for a copy of large, of which a start failed: others go first" in plan.reasons
    assert propose(replace(asked, resting=frozenset({("large", "GPU-z")}), behind=frozenset())) == propose(
        ask([EMPTY], SMALL, LARGE)
    )


def test_a_copy_that_failed_is_tried_once_nothing_else_is_to_do() -> None:
    failed = frozenset({("large", "GPU-a")})
    plan = propose(ask([EMPTY], SMALL, LARGE, behind=frozenset({"large"})))
    assert {model for _, _, model in told(plan)} == {"", "small"}, "others go first"
    here = Gpu(
        "GPU-a",
        H100,
        tuple(Slice("1g.10gb", n) for n in (5, 6)),
        models=dict.fromkeys((Slice("1g.10gb", n) for n in (5, 6)), ("small",)),
    )
    assert told(propose(ask([here], SMALL, LARGE, resting=failed))) == [], "not yet"
    assert told(propose(ask([here], SMALL, LARGE, behind=frozenset({"large"})))) == [
        ("create", "4g.40gb", ""),
        ("start", "4g.40gb", "large"),
    ]


def test_no_copy_is_drained_for_one_that_does_not_come_and_none_on_its_gpu() -> None:
    """`small` whole on two GPUs would go to slices of the one, so that the other is free."""
    gpus = [Gpu(f"GPU-{n}", H100, (OFF,), models={OFF: ("small",)}) for n in "abc"]
    whole = propose(ask(gpus, SMALL))
    starts = {(step.model, step.uuid) for step in whole.steps if step.action == "start"}
    assert starts
    assert [step for step in whole.steps if step.action == "drain"]
    plan = propose(ask(gpus, SMALL, resting=frozenset(starts)))
    assert (plan.steps, plan.pays) == ((), False)


def test_an_idle_slice_goes_only_for_what_comes() -> None:
    idle = Gpu("GPU-a", H100, (OFF,))
    failed = frozenset({("large", "GPU-a")})
    plan = propose(ask([idle], SMALL, LARGE, resting=failed))
    assert ("destroy", "whole", "") in told(plan)
    assert ("start", "1g.10gb", "small") in told(plan)
    assert propose(ask([idle], LARGE, resting=failed)).steps == ()


@pytest.mark.parametrize(("there", "out"), [(False, {"GPU-a"}), (True, set())])
def test_a_gpu_out_of_service_that_waits_for_a_copy_is_so_until_it_has_it(*, there: bool, out: set[str]) -> None:
    others = [Gpu(f"GPU-{n}", H100, (OFF,), models={OFF: ("small",)}) for n in "bcd"]
    asked = ask([EMPTY, *others], SMALL, LARGE, max_share=0.5, out=frozenset({"GPU-a"}))
    plan = propose(replace(asked, resting=frozenset({("large", "GPU-a")})))
    assert set(plan.waiting) == {"GPU-a"}
    assert {piece.models for piece in plan.waiting["GPU-a"]} >= {("large",)}
    assert any("1 of 4 GPUs at most are out of service" in reason for reason in plan.reasons), "it is one of the two"
    has = plan.waiting["GPU-a"] if there else plan.layouts["GPU-a"]
    models = {Slice(piece.profile, piece.start): piece.models for piece in has}
    after = Gpu("GPU-a", H100, tuple(sorted(models)), models=models)
    assert still_out(plan, {"GPU-a"}, [after]) == out
