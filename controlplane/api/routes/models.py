"""Models, and what people and gateways may ask for them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from controlplane.api.context import Operator, ThePlane, Viewer
from controlplane.api.instruct import INSTRUCTED, Instruct
from controlplane.api.plane import late_after_s
from controlplane.api.problems import responses
from controlplane.api.views.fleet import ModelView, model_view
from controlplane.api.views.people import (
    EndedView,
    InstancesBody,
    ModelBody,
    ModelBoundsBody,
    OperationView,
    ReadinessView,
    RolloutBody,
)
from controlplane.domain.errors import NotFoundError
from controlplane.domain.instructions import OverrideKind

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get("", summary="All models")
async def models(plane: ThePlane, _: Viewer) -> list[ModelView]:
    """Each as it was read, judged and decided on last."""
    picture = plane.picture()
    return [model_view(picture, spec, late_after_s(plane)) for spec in picture.fleet.models]


@router.get("/{model}", summary="One model", responses=responses(404))
async def one(model: str, plane: ThePlane, _: Viewer) -> ModelView:
    """As it was read, judged and decided on last."""
    picture = plane.picture()
    spec = picture.fleet.model(model)
    if spec is None:
        raise NotFoundError("model", model, tuple(m.name for m in picture.fleet.models))
    return model_view(picture, spec, late_after_s(plane))


@router.post("/{model}/load", summary="Load, and keep loaded", status_code=202, responses=INSTRUCTED)
async def load(model: str, body: ModelBody, instruct: Instruct) -> OperationView:
    """An override: it holds until its ttl runs out; how many instances stays with the policy."""
    return await instruct(model, OverrideKind.LOADED, body)


@router.post("/{model}/unload", summary="Unload, and keep unloaded", status_code=202, responses=INSTRUCTED)
async def unload(model: str, body: ModelBody, instruct: Instruct) -> OperationView:
    """An override: nothing loads the model until its ttl runs out."""
    return await instruct(model, OverrideKind.UNLOADED, body)


@router.put("/{model}/instances", summary="Fix the instance count", status_code=202, responses=INSTRUCTED)
async def instances(model: str, body: InstancesBody, instruct: Instruct) -> OperationView:
    """An override: a total per server, inside the model's bounds."""
    return await instruct(model, OverrideKind.INSTANCES, body, body.instances)


@router.post("/{model}/pin", summary="Keep as it is", status_code=202, responses=INSTRUCTED)
async def pin(model: str, body: ModelBody, instruct: Instruct) -> OperationView:
    """An override: loaded, with the instances it has now."""
    return await instruct(model, OverrideKind.PIN, body)


@router.put("/{model}/bounds", summary="Set other bounds", status_code=202, responses=INSTRUCTED)
async def bounds(model: str, body: ModelBoundsBody, instruct: Instruct) -> OperationView:
    """An override: on instances of each server, in place of the configured ones, wider or narrower."""
    return await instruct(model, OverrideKind.BOUNDS, body, bounds=(body.min, body.max))


@router.post("/{model}/rollout", summary="Roll out another version", status_code=202, responses=INSTRUCTED)
async def rollout(model: str, body: RolloutBody, instruct: Instruct) -> OperationView:
    """An override beside the others: server by server, beside the old version, which goes when the new one held.

    It fails, and what served before serves on, where the new one does not load, answers probes with errors or does
    worse than the old one.
    """
    return await instruct.rollout(model, body)


@router.delete("/{model}/overrides", summary="Withdraw all overrides of a model", responses=responses(404))
async def withdraw(model: str, plane: ThePlane, who: Operator) -> EndedView:
    """The policy decides again from the next tick on."""
    return EndedView(ended=await plane.desk.end_overrides(model, actor=who.actor(None)))


@router.post("/{model}/ensure", summary="Return when the model is ready", responses=responses(404, 409, 503))
async def ensure(
    model: str,
    plane: ThePlane,
    who: Operator,
    timeout: Annotated[float, Query(gt=0, le=600, description="Seconds")] = 60.0,  # noqa: ASYNC109 - part of the URL
) -> ReadinessView:
    """The wake source of gateways and clients: loads the model if need be, and counts as its use.

    503 when it is not ready in time (the load goes on), 409 when the load failed or is not allowed.
    """
    return ReadinessView.model_validate(await plane.desk.ensure(model, actor=who.actor(None), timeout_s=timeout))
