"""MIG layouts as JSON: now, planned, and the difference."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, Field

from controlplane.api.views.signals import SignalView, View, part
from controlplane.domain.fleet import Mode
from controlplane.domain.layouts import ChangeState, LaidModel, LayoutPlan, MigPicture
from controlplane.domain.signal import Missing, last_value

PerS = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MigPlanBody(BaseModel, extra="forbid"):
    """What to plan for in place of what is seen."""

    demand: dict[str, PerS] = Field(
        default={}, description="Requests per second by model; of the others as seen", examples=[{"bert": 120}]
    )


class LaidSliceView(View):
    """A slice."""

    profile: str = Field(description="`whole`: the GPU with MIG off")
    start: int = Field(description="Its first memory unit")
    size: int = Field(description="How many memory units it takes")
    models: list[str] = Field(description="Those with a copy on it")
    resource: str = Field(
        description="What a pod asks for to get such a slice: the device plugin's name, strategy mixed"
    )


class LaidGpuView(View):
    """A GPU, as it is cut and as it should be."""

    uuid: str
    node: str = Field(description="Name of the agent that told it; empty: the machine of the control plane")
    name: str
    board: str = Field(description="Key in the table of boards; empty: it cannot be cut")
    units: int = Field(description="Memory units that it has")
    now: list[LaidSliceView]
    planned: list[LaidSliceView] | None = Field(description="null: nothing is planned for it")
    created: list[LaidSliceView] = Field(description="Planned and not there")
    destroyed: list[LaidSliceView] = Field(description="There and in the way of what is planned")
    why: str = Field(description="Why no plan is made of it; empty: one is")


class CapacityView(BaseModel):
    """What a copy serves on a profile, requests per second; plans rest on the low end."""

    board: str
    profile: str
    low_per_s: float
    high_per_s: float
    basis: str = Field(description="learned, given, or scaled from those")


class LaidModelView(BaseModel):
    """A model that is to have slices."""

    name: str
    demand_per_s: SignalView[float] = Field(description="The highest of the last dwell")
    capacities: list[CapacityView]
    short_now_per_s: float | None = Field(description="Demand that what runs does not serve; null before a first plan")
    short_planned_per_s: float | None = Field(description="The same as planned")
    why: str = Field(description="Why it cannot be planned with; empty: it can")


class LayoutStepView(View):
    """One step; steps of a wave may go on at the same time."""

    wave: int
    action: str = Field(description="create, start, drain or destroy")
    uuid: str
    profile: str
    start: int
    model: str
    temporary: bool = Field(description="Of a slice that is there only meanwhile")
    interrupts: bool = Field(description="The model has less capacity from then on than before and after")
    round: int = Field(description="Between two rounds no GPU is out of service, and what is left is checked anew")


class LayoutPlanView(BaseModel):
    """A plan. Costs are GPUs in use, or their price."""

    pays: bool = Field(description="Whether it is worth its disturbance over the dwell")
    reasons: list[str]
    cost: float
    bound: float = Field(description="No plan that serves as much costs less than this")
    gain_per_s: float = Field(description="GPUs, or their price")
    disturbance: float = Field(description="GPU seconds, or their price")
    pays_after_s: float | None = Field(description="null: never")
    change_s: float = Field(description="Seconds of cutting, over all GPUs")
    changed_slices: int
    rounds: int = Field(description="In so many it is carried out, each with few GPUs out of service (mig.max_share)")
    steps: list[LayoutStepView]
    unserved: dict[str, str] = Field(description="Models that no plan serves fully, and why: profiles or gpus")


class LayoutChangeView(View):
    """A plan that is or was carried out."""

    state: ChangeState
    began_at: float = Field(description="Unix seconds")
    ended_at: float | None = Field(description="null: it is under way")
    steps: int
    done: int
    why: str = Field(description="Why it was held or failed")
    again_at: float = Field(description="No plan is carried out before that")


class MigView(BaseModel):
    """Layouts now and planned, and the newest change."""

    mode: Mode | None = Field(description="null: nothing is configured about MIG, so that nothing is planned")
    gpus: SignalView[list[LaidGpuView]]
    models: list[LaidModelView]
    plan: SignalView[LayoutPlanView]
    change: LayoutChangeView | None = Field(description="null: none was begun")
    held: str = Field(description="Why a plan that pays is not carried out in mode act")

    @classmethod
    def of(cls, mig: MigPicture, now: float) -> MigView:
        """At `now`."""
        gpus = [LaidGpuView.model_validate(gpu) for gpu in last_value(mig.gpus) or ()]
        plan = mig.plan if isinstance(mig.plan, Missing) else part(mig.plan, _plan(mig.plan.value))
        return cls(
            mode=mig.mode,
            gpus=SignalView[list[LaidGpuView]].of(part(mig.gpus, gpus), now),
            models=[_model(model, now) for model in mig.models],
            plan=SignalView[LayoutPlanView].of(plan, now),
            change=None if mig.change is None else LayoutChangeView.model_validate(mig.change),
            held=mig.held,
        )


def _model(model: LaidModel, now: float) -> LaidModelView:
    return LaidModelView(
        name=model.name,
        demand_per_s=SignalView[float].of(model.demand_per_s, now),
        capacities=[
            CapacityView(board=board, profile=profile, low_per_s=low, high_per_s=high, basis=basis)
            for (board, profile), (low, high, basis) in model.capacities.items()
        ],
        short_now_per_s=model.short_now_per_s,
        short_planned_per_s=model.short_then_per_s,
        why=model.why,
    )


def _plan(plan: LayoutPlan) -> LayoutPlanView:
    return LayoutPlanView(
        pays=plan.pays,
        reasons=list(plan.reasons),
        cost=plan.cost,
        bound=plan.bound,
        gain_per_s=plan.gain_per_s,
        disturbance=plan.disturbance,
        pays_after_s=plan.pays_after_s if math.isfinite(plan.pays_after_s) else None,
        change_s=plan.change_s,
        changed_slices=plan.changed_slices,
        rounds=plan.rounds,
        steps=[LayoutStepView.model_validate(step) for step in plan.steps],
        unserved=dict(plan.unserved),
    )
