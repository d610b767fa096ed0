"""How an instruction becomes an override, and its answer an operation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Response

from controlplane.api.context import Operator, ThePlane
from controlplane.api.problems import responses
from controlplane.api.views.people import ModelBody, OperationView, RolloutBody, Said
from controlplane.domain.instructions import OverrideKind
from controlplane.loop.operations import Operation, OperationStatus

_Wait = Annotated[float, Query(ge=0, le=600, description="Wait so many seconds at most for it to be carried out")]

INSTRUCTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "With ?wait=: no longer pending; its status tells", "model": OperationView},
    **responses(404, 409),
}
"""What the routes say in OpenAPI about their answers other than 202."""


class _Instruct:
    """Puts overrides for one request: 202 while the operation is pending, 200 when the wait saw its end."""

    def __init__(self, response: Response, plane: ThePlane, who: Operator, wait: _Wait = 0.0) -> None:
        self._response = response
        self._plane = plane
        self._who = who
        self._wait_s = wait

    async def __call__(
        self,
        model: str,
        kind: OverrideKind,
        body: ModelBody,
        instances: int | None = None,
        bounds: tuple[int, int] | None = None,
    ) -> OperationView:
        """Put the override of a model and tell where it is."""
        operation = await self._plane.desk.put_override(
            model,
            kind,
            actor=self._who.actor(body.actor),
            reason=body.reason,
            ttl_s=body.ttl,
            instances=instances,
            server=body.server,
            bounds=bounds,
        )
        return await self._answer(operation)

    async def rollout(self, model: str, body: RolloutBody) -> OperationView:
        """Put the rollout of a model and tell where it is."""
        operation = await self._plane.desk.put_rollout(
            model,
            body.version,
            verify_s=body.verify_for,
            with_ensembles=body.with_ensembles,
            actor=self._who.actor(body.actor),
            reason=body.reason,
            ttl_s=body.ttl,
            server=body.server,
        )
        return await self._answer(operation)

    async def replicas(
        self,
        workload: str,
        kind: OverrideKind,
        body: Said,
        replicas: int | None = None,
        bounds: tuple[int, int] | None = None,
    ) -> OperationView:
        """Put the override of a workload and tell where it is."""
        operation = await self._plane.desk.put_replicas(
            workload,
            kind,
            actor=self._who.actor(body.actor),
            reason=body.reason,
            ttl_s=body.ttl,
            replicas=replicas,
            bounds=bounds,
        )
        return await self._answer(operation)

    async def _answer(self, operation: Operation) -> OperationView:
        if self._wait_s:
            operation = await self._plane.desk.wait(operation, self._wait_s)
        pending = not self._wait_s or operation.status is OperationStatus.PENDING
        self._response.status_code = 202 if pending else 200
        self._response.headers["Location"] = f"/api/v1/operations/{operation.id}"
        return OperationView.model_validate(operation)


Instruct = Annotated[_Instruct, Depends(_Instruct)]
