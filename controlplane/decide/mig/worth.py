"""Whether new layouts pay for their disturbance: in GPU time, over the time that they are likely to last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.decide.mig.boards import WHOLE
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.serving import serving
from controlplane.decide.mig.values import Assignment, Gpu, MigModel, MigPlan, MigQuestion, Place
from controlplane.domain.mig import Act

SHORT_WEIGHT = 100.0
"""A request that is not served weighs as much as the GPU time of a hundred: with an objective of 99 % it spends the
budget that a hundred good ones leave."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that changes take. `whole_gpu`: changing a GPU stops every copy on it, for `gpu_s` more.

    `start_s` is from starting a copy to its first answer, `drain_s` from leaving the routing to its end.
    """

    create_s: float
    destroy_s: float
    mode_s: float
    gpu_s: float = 0.0
    whole_gpu: bool = False
    start_s: float = 90.0
    drain_s: float = 30.0


BY_NVML = Pace(0.35, 0.63, 6.5)
"""Seconds of one slice and of a change of mode, seen on an A100-SXM4-80GB with driver 580 (third party)."""
BY_LABEL = Pace(0.0, 0.0, 0.0, gpu_s=66.0, whole_gpu=True)
"""mig-manager from its label to `success`, 41 to 46 s, and the device plugin after it, 20 to 23 s, on an A100-PCIE-40GB
(third party)."""


@dataclass(frozen=True, slots=True)
class Worth:
    """`pays`: whether `gain_per_s` over the dwell is more than `disturbance`. GPUs, and GPU seconds (or their price).

    `short_now_per_s`: by model, the demand that what runs now does not serve; `short_then_per_s` likewise as planned.
    """

    pays: bool
    gain_per_s: float
    disturbance: float
    pays_after_s: float
    short_now_per_s: dict[str, float]
    short_then_per_s: dict[str, float]


def worth(question: MigQuestion, plan: MigPlan, dwell_s: float, pace: Pace = BY_NVML) -> Worth:
    """Whether a plan pays:

        dwell * (sum_m W v_m (short_now_m - short_then_m) + price_now - price_then)  >  disturbance
        disturbance = sum_m W v_m lost_m + GPU time of slices on which nothing answers yet

    `v_m` is the GPU time (times its price) that a request of model m takes on the slices it is to have, or has where it
    is to have none, `short` its demand that is not served, W SHORT_WEIGHT, `price` that of the GPUs in use. `lost_m`
    are requests that are not served while a step interrupts: its copy's capacity, no more than is asked, from the drain
    to the start of another.
    Whatever is started keeps its slice busy for `start_s` before it answers. A plan without steps pays for nothing.
    """
    demand = {model.name: model.demand for model in question.models}
    serves_now, serves_then = served_now(question), defaultdict[str, float](float)
    for a in plan.assignments:
        serves_then[a.model] += a.capacity
    short_now = {name: max(0.0, asked - serves_now[name]) for name, asked in demand.items()}
    short_then = {name: max(0.0, asked - serves_then[name]) for name, asked in demand.items()}
    value = _values(question, plan)
    gain = sum(SHORT_WEIGHT * value.get(name, 0.0) * (short_now[name] - short_then[name]) for name in sorted(demand))
    gain += _price_now(question) - plan.cost.value
    cost = _disturbance(question, plan, value, pace)
    after_s = cost / gain if gain > 0 else float("inf")
    return Worth(bool(plan.steps) and after_s < dwell_s, gain, cost, after_s, short_now, short_then)


def changed_gpus(plan: MigPlan) -> frozenset[str]:
    """GPUs on which a slice is created or destroyed."""
    return frozenset(step.place.uuid for step in plan.steps if step.act in {Act.CREATE, Act.DESTROY})


def change_s(plan: MigPlan, pace: Pace = BY_NVML) -> float:
    """Seconds that cutting takes, summed over the GPUs; starts and drains of copies are not among them."""
    cutting = [step for step in plan.steps if step.act in {Act.CREATE, Act.DESTROY}]
    modes = sum(step.place.piece.profile == WHOLE for step in cutting)
    created = sum(step.act is Act.CREATE and step.place.piece.profile != WHOLE for step in cutting)
    destroyed = len(cutting) - modes - created
    by_slice = created * pace.create_s + destroyed * pace.destroy_s + modes * pace.mode_s
    return by_slice + len(changed_gpus(plan)) * pace.gpu_s


def _disturbance(question: MigQuestion, plan: MigPlan, value: dict[str, float], pace: Pace) -> float:
    gpus = {gpu.uuid: gpu for gpu in question.gpus}
    models = {model.name: model for model in question.models}
    away_s = pace.drain_s + pace.destroy_s + pace.create_s + pace.gpu_s + pace.start_s
    cost = 0.0
    for step in plan.steps:
        gpu = gpus[step.place.uuid]
        if step.act is Act.START:
            cost += _share(gpu, step.place) * gpu.price * (pace.start_s + pace.create_s)
        elif step.act is Act.DRAIN:
            cost += _share(gpu, step.place) * gpu.price * (pace.drain_s + pace.destroy_s)
            if step.interrupts or pace.whole_gpu:
                cost += _lost(models, gpu, step.place, step.model, away_s, value)
    if pace.whole_gpu:
        drained = {(step.model, step.place) for step in plan.steps if step.act is Act.DRAIN}
        for uuid in sorted(changed_gpus(plan)):
            for piece, names in gpus[uuid].models.items():
                for name in names:
                    if (name, Place(uuid, piece)) not in drained:
                        cost += _lost(models, gpus[uuid], Place(uuid, piece), name, away_s, value)
    return cost


def _lost(
    models: dict[str, MigModel], gpu: Gpu, place: Place, name: str, away_s: float, value: dict[str, float]
) -> float:
    model = models.get(name)
    if model is None:
        return 0.0
    here = capacity_on(model, gpu.board, place.piece.profile) / max(1, len(gpu.models.get(place.piece, ())))
    return SHORT_WEIGHT * value.get(name, 0.0) * min(model.demand, here) * away_s


def _values(question: MigQuestion, plan: MigPlan) -> dict[str, float]:
    """GPU time, times its price, that a request of each model takes as planned; where none of it is, as it is there."""
    gpus = {gpu.uuid: gpu for gpu in question.gpus}
    value = dict[str, float]()
    for copies in (_there(question), plan.assignments):
        spent, served = defaultdict[str, float](float), defaultdict[str, float](float)
        for a in copies:
            gpu = gpus[a.place.uuid]
            spent[a.model] += a.share * _share(gpu, a.place) * gpu.price
            served[a.model] += a.capacity
        value |= {name: spent[name] / served[name] for name in sorted(served) if served[name] > 0}
    return value


def _share(gpu: Gpu, place: Place) -> float:
    return gpu.board.size(place.piece) / gpu.board.units


def served_now(question: MigQuestion) -> defaultdict[str, float]:
    """Per second and model, what the copies that are there serve."""
    served = defaultdict[str, float](float)
    for copy in _there(question):
        served[copy.model] += copy.capacity
    return served


def _there(question: MigQuestion) -> Iterator[Assignment]:
    gpus = question.gpus
    return serving(question.models, {gpu.uuid: gpu.board for gpu in gpus}, {gpu.uuid: gpu.models for gpu in gpus})


def _price_now(question: MigQuestion) -> float:
    """The price of the GPUs on which some model has a copy."""
    return sum(gpu.price for gpu in question.gpus if any(gpu.models.values()))
