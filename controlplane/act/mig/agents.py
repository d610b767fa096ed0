"""Cuts GPUs, and starts and drains copies on them, through the agents on their nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp

from controlplane.act.connecting import why_not
from controlplane.act.mig.documents import copy_of_document, layout_of_document, outcome_of_document, piece_document
from controlplane.domain.errors import ConflictError, ControlPlaneError, NotFoundError, TargetUnreachableError
from controlplane.domain.mig import Act, CopyOutcome, CopyState, GpuLayout, LayoutOutcome, LayoutState, Slice

_NO_MIG = "it lets nobody cut its GPUs: start it with --mig and --token-file"
_NOT_TOLD = "its answer is not that of an agent of this version"


class MigAgents:
    """Agents by the name of their node, each by its URL without a path. Adapts ports MigActuator and CopyRunner.

    `token` gives the bearer token, anew for each request; what it raises as ValueError is told as ConflictError.
    `source` says to people where the token is from.
    `change_timeout_s` and `copy_timeout_s` are more than an agent's own deadlines, so that it tells what came of it.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        token: Callable[[], str],
        *,
        source: str = "the token's file",
        read_timeout_s: float = 15.0,
        change_timeout_s: float = 180.0,
        copy_timeout_s: float = 960.0,
    ) -> None:
        """Connects to nothing yet."""
        self._urls = {node: url.rstrip("/") for node, url in urls.items()}
        self._token = token
        self._source = source
        self._read_timeout_s = read_timeout_s
        self._change_timeout_s = change_timeout_s
        self._copy_timeout_s = copy_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        """The GPUs of a node. Raises TargetUnreachableError, ConflictError where it lets nobody cut, NotFoundError."""
        status, document = await self._ask(node, "GET", self._read_timeout_s)
        if status != 200:
            raise self._refused(node, status, document)
        try:
            return tuple(map(layout_of_document, document["gpus"]))
        except (KeyError, ValueError, TypeError):
            raise ConflictError(f"agent {node}: {_NOT_TOLD}") from None

    async def apply(self, node: str, gpu: str, layout: Collection[Slice], *, dry_run: bool) -> LayoutOutcome:
        """Give a GPU this layout. Slices that stay are not touched. Never raises for a failing node."""
        wanted = {"gpu": gpu, "layout": [piece_document(piece) for piece in layout], "dry_run": dry_run}
        try:
            status, document = await self._ask(node, "POST", self._change_timeout_s, wanted)
            if status == 200:
                return outcome_of_document(document)
            if "outcome" in document:
                return outcome_of_document(document["outcome"])
        except TargetUnreachableError as error:
            return LayoutOutcome(gpu, LayoutState.UNREACHABLE, detail=str(error))
        except ControlPlaneError as error:
            return LayoutOutcome(gpu, LayoutState.REFUSED, detail=str(error))
        except (KeyError, ValueError, TypeError):
            return LayoutOutcome(gpu, LayoutState.UNREACHABLE, detail=f"agent {node}: {_NOT_TOLD}")
        state = LayoutState.UNREACHABLE if _may_pass(status) else LayoutState.REFUSED
        return LayoutOutcome(gpu, state, detail=str(self._refused(node, status, document)))

    async def run(self, node: str, act: Act, gpu: str, piece: Slice, model: str) -> CopyOutcome:
        """Start or drain a copy of a model on a slice; see CopyRunner. Never raises for a failing node."""
        if act not in {Act.START, Act.DRAIN}:
            raise ValueError(f"{act} is nothing that is done to a copy")
        wanted = {"gpu": gpu, **piece_document(piece), "model": model, "act": act.value}
        try:
            status, document = await self._ask(node, "POST", self._copy_timeout_s, wanted, "/copies")
            if status == 200:
                return copy_of_document(document)
            if "outcome" in document:
                return copy_of_document(document["outcome"])
        except TargetUnreachableError as error:
            return CopyOutcome(gpu, piece, model, CopyState.UNREACHABLE, str(error))
        except ControlPlaneError as error:
            return CopyOutcome(gpu, piece, model, CopyState.REFUSED, str(error))
        except (KeyError, ValueError, TypeError):
            return CopyOutcome(gpu, piece, model, CopyState.UNREACHABLE, f"agent {node}: {_NOT_TOLD}")
        state = CopyState.UNREACHABLE if _may_pass(status) else CopyState.REFUSED
        return CopyOutcome(gpu, piece, model, state, str(self._refused(node, status, document)))

    def _refused(self, node: str, status: int, document: Mapping[str, Any]) -> ControlPlaneError:
        detail = document.get("detail")
        if status == HTTPStatus.UNAUTHORIZED:
            return ConflictError(f"agent {node}: it did not accept the token of {self._source}")
        if status == 404 and not detail:
            return ConflictError(f"agent {node}: {_NO_MIG}")
        if _may_pass(status):
            return TargetUnreachableError(f"agent {node}", str(detail or f"answered HTTP {status}"))
        return ConflictError(f"agent {node}: {detail or f'answered HTTP {status}'}")

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self, node: str, method: str, timeout_s: float, body: Mapping[str, Any] | None = None, below: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer; no redirect is followed, since the token goes nowhere else."""
        if node not in self._urls:
            raise NotFoundError("node with an agent", node, tuple(sorted(self._urls)))
        try:
            headers = {"Authorization": f"Bearer {self._token()}"}
        except ValueError as error:
            raise ConflictError(f"agent {node}: {error}") from None
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        request = self._session.request(
            method,
            f"{self._urls[node]}/mig{below}",
            json=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        )
        try:
            async with request as response:
                status, text = response.status, await response.text(errors="replace")
        except TimeoutError:
            raise TargetUnreachableError(f"agent {node}", f"no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TargetUnreachableError(f"agent {node}", why_not(error)) from None
        return status, _document(text)


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _may_pass(status: int) -> bool:
    """Whether to ask again later may help: not where it says that it cannot do such a thing (501)."""
    return status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED
