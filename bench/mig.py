"""Plans of MIG layouts for a large fleet: how long they take, and how good they are proved to be."""

from __future__ import annotations

import random
from dataclasses import replace

from bench.figure import Figure
from bench.timing import best_s
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Board, Gpu, MigModel, MigPlan, MigQuestion, Slice, plan
from controlplane.decide.mig.layouts import Layout, layouts

GPUS, MODELS = 256, 40
_GOAL_S = 2.0
_SM_OF_A_UNIT = 17
_FLEETS: dict[str, tuple[str, ...]] = {"one board": ("h100-80gb",), "two boards": ("h100-80gb", "a100-80gb")}


def run(*, seed: int) -> list[Figure]:
    """Fleets that are empty, such with any layouts, and such that run what was planned while the demand changes."""
    found = []
    for fleet, keys in _FLEETS.items():
        empty, cut = (question(keys, cut=cut, seed=seed) for cut in (False, True))
        states = {"nothing cut yet": empty, "every layout": cut, "running": running(empty, random.Random(seed))}
        found += [_figure(fleet, state, asked) for state, asked in states.items()]
    return found


def running(before: MigQuestion, drawn: random.Random) -> MigQuestion:
    """What was asked is carried out, and now up to 30 % more or less is asked of each model."""
    planned = plan(before)
    on: dict[str, dict[Slice, tuple[str, ...]]] = {gpu.uuid: {} for gpu in before.gpus}
    for a in planned.assignments:
        on[a.place.uuid][a.place.piece] = (a.model,)
    return MigQuestion(
        tuple(replace(gpu, layout=planned.layouts[gpu.uuid], models=on[gpu.uuid]) for gpu in before.gpus),
        tuple(replace(model, demand=model.demand * drawn.uniform(0.7, 1.3)) for model in before.models),
    )


def question(keys: tuple[str, ...], *, cut: bool, gpus: int = GPUS, models: int = MODELS, seed: int = 1) -> MigQuestion:
    """Models of any size; what they serve grows with SMs, less than evenly, and their demand takes half of the GPUs."""
    of = [boards()[key] for key in keys]
    fleet_drawn, drawn = random.Random(seed), random.Random(seed)
    fleet = tuple(_gpu(fleet_drawn, f"GPU-{i:03d}", of[i % len(of)], cut=cut) for i in range(gpus))
    return MigQuestion(fleet, tuple(_model(drawn, f"model-{i:02d}", of, gpus / models) for i in range(models)))


def _gpu(drawn: random.Random, uuid: str, board: Board, *, cut: bool) -> Gpu:
    names = tuple(p.name for p in board.profiles if "+" not in p.name and p.nvml is not None)
    found: tuple[Layout, ...] = layouts(board, names)
    return Gpu(uuid, board, drawn.choice(found) if cut and drawn.random() > 0.2 else ())


def _model(drawn: random.Random, name: str, of: list[Board], gpus: float) -> MigModel:
    one, grows = drawn.uniform(1, 20), drawn.uniform(0.6, 0.95)
    sizes = {p.name: p.sm or p.size * _SM_OF_A_UNIT for board in of for p in board.profiles if "+" not in p.name}
    profiles = {profile: one * size**grows / 10 for profile, size in sizes.items()}
    return MigModel(name, one * gpus * drawn.uniform(0.3, 8), profiles, drawn.choice([2, 6, 9, 15, 18, 30, 60]))


def _figure(fleet: str, state: str, asked: MigQuestion) -> Figure:
    planned = plan(asked)
    took_s = best_s(lambda: plan(asked))
    return Figure(
        f"MIG plan, {GPUS} GPUs, {MODELS} models, {fleet}, {state}",
        f"{took_s:.2f} s; {planned.gpus_used} GPUs, bound {planned.cost.bound:g}; {_changes(planned)}",
        f"optimal, under {_GOAL_S:g} s",
        planned.optimal and took_s < _GOAL_S,
        {"seconds": took_s, "gpus_used": planned.gpus_used, "bound": planned.cost.bound}
        | {goal.name: {"value": goal.value, "bound": goal.bound} for goal in planned.goals},
    )


def _changes(planned: MigPlan) -> str:
    drained, changed = (next(g for g in planned.goals if g.name == n) for n in ("drained_copies", "changed_slices"))
    copies = f"{drained.value:g} copies drained, bound {drained.bound:g}; " if drained.value else ""
    return f"{copies}{changed.value:g} slices changed, bound {changed.bound:g}"
