"""`/mig` of the agent: how its GPUs are cut, cutting them, and the copies on them, for whoever has the token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from http import HTTPStatus
from pathlib import Path

import structlog
from aiohttp import web

from controlplane.act.mig.documents import copy_document, layout_document, outcome_document
from controlplane.agent.mig.copies import Copies
from controlplane.agent.mig.cutter import Cutter, Limits
from controlplane.agent.mig.present import device_of
from controlplane.agent.mig.problems import problem, problem_of
from controlplane.agent.mig.request import copy_wanted, layout_wanted
from controlplane.collect.token_file import read_token
from controlplane.collect.worker import Worker
from controlplane.domain.errors import ConflictError, NotFoundError, TargetUnreachableError
from controlplane.domain.mig import Act, CopyState, LayoutState, Slice

_log = structlog.get_logger(__name__)
_READ_S = 10.0
"""Reading all GPUs is given up after so long: under load a driver takes seconds for a cut GPU."""
_STATUS = {CopyState.REFUSED: HTTPStatus.CONFLICT, CopyState.WAITING: HTTPStatus.SERVICE_UNAVAILABLE}
_Handler = Callable[["MigRoutes", web.Request], Awaitable[web.Response]]


def _answered(handler: _Handler) -> _Handler:
    """Nobody is let in without the token, and whatever goes wrong becomes a problem."""

    @wraps(handler)
    async def answered(self: MigRoutes, request: web.Request) -> web.Response:
        try:
            return self.refusal(request) or await handler(self, request)
        except Exception as error:  # noqa: BLE001 - the agent goes on, and the log has what was not expected
            return problem_of(request, error)

    return answered


class MigRoutes:
    """One change at a time, on a thread of its own, so that neither the metrics page nor `GET /mig` waits for it."""

    def __init__(
        self,
        token_file: Path,
        journal: Path,
        clock: Callable[[], float],
        limits: Limits | None = None,
        copies: Copies | None = None,
    ) -> None:
        self._token_file = token_file
        self._copies = copies
        self._limits = limits or Limits()
        self._cutter = Cutter(journal, clock, self._limits)
        self._reads = Worker("controlplane-mig-reads")
        self._changes = Worker("controlplane-mig-changes")

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/mig", self._get)
        app.router.add_post("/mig", self._post)
        app.router.add_post("/mig/copies", self._post_copy)

    async def adopt(self) -> None:
        """Take over what an earlier process left running for copies; before anything is asked."""
        if self._copies is not None:
            await self._copies.adopt()

    async def resume(self) -> None:
        """Go on with what an earlier process did not bring to its end. Never raises."""
        try:
            begun = await self._changes.call(self._cutter.unfinished, _READ_S)
        except (TargetUnreachableError, TimeoutError) as error:
            _log.warning("it is not known which layouts were begun", why=str(error))
            return
        for gpu in begun:
            try:
                outcome = await self._changes.call(partial(self._cutter.resume, gpu), self._patience_s)
            except (TargetUnreachableError, ConflictError, NotFoundError, TimeoutError) as error:
                _log.warning("a layout that was begun is not resumed", gpu=gpu, why=str(error))
            else:
                if outcome is not None:
                    _log.info("layout resumed", gpu=gpu, state=outcome.state.value, detail=outcome.detail)

    def refusal(self, request: web.Request) -> web.Response | None:
        """An answer to whoever does not show the token; compared in constant time."""
        try:
            token = read_token(str(self._token_file))
        except ValueError as error:
            _log.error("no token to compare with", why=str(error))
            why = "the agent's token file cannot be used; its log says why"
            return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, why)
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), token.encode())
        if same and scheme.lower() == "bearer":
            return None
        answer = problem(request, HTTPStatus.UNAUTHORIZED, "the bearer token of the agent's token file is needed")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def close(self) -> None:
        """Let the threads end."""
        self._reads.close()
        self._changes.close()

    @property
    def _patience_s(self) -> float:
        """A step that is begun right before the deadline may end after it."""
        return self._limits.deadline_s + 2 * self._limits.settle_s

    @_answered
    async def _get(self, _: web.Request) -> web.Response:
        gpus = await self._reads.call(self._cutter.layouts, _READ_S)
        return web.json_response({"gpus": [layout_document(gpu) for gpu in gpus], "copies": self._copies is not None})

    @_answered
    async def _post(self, request: web.Request) -> web.Response:
        wanted = layout_wanted(await request.read())
        work = partial(self._cutter.apply, wanted.gpu, wanted.slices, dry_run=wanted.dry_run)
        outcome = await self._changes.call(work, self._patience_s)
        if not wanted.dry_run:
            steps = [f"{s.act} {s.piece.profile} at {s.piece.start}" for s in outcome.steps if s.done]
            _log.info("layout", gpu=outcome.gpu, state=outcome.state.value, detail=outcome.detail, done=steps)
        document = outcome_document(outcome)
        if outcome.state is LayoutState.REFUSED:
            return problem(request, HTTPStatus.CONFLICT, outcome.detail, outcome=document)
        if outcome.state is LayoutState.FAILED:
            return problem(request, HTTPStatus.BAD_GATEWAY, outcome.detail, outcome=document)
        return web.json_response(document)

    @_answered
    async def _post_copy(self, request: web.Request) -> web.Response:
        wanted = copy_wanted(await request.read())
        if self._copies is None:
            raise ConflictError("this agent starts no copies: start it with --copies COMMAND")
        piece = Slice(wanted.profile, wanted.start)

        async def find() -> str:
            if request.transport is None:
                raise ConflictError("whoever asked waits no more: nothing is begun")
            return device_of(await self._reads.call(self._cutter.layouts, _READ_S), wanted.gpu, piece)

        outcome = await self._copies.run(Act(wanted.act.value), wanted.gpu, piece, wanted.model, find)
        told = {"act": wanted.act.value, "model": wanted.model, "state": outcome.state.value}
        _log.info("copy", gpu=wanted.gpu, profile=piece.profile, start=piece.start, detail=outcome.detail, **told)
        document = copy_document(outcome)
        if outcome.state is CopyState.DONE:
            return web.json_response(document)
        return problem(request, _STATUS.get(outcome.state, HTTPStatus.BAD_GATEWAY), outcome.detail, outcome=document)
