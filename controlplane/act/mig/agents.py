"""Cuts GPUs through the agents on their nodes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import aiohttp

from controlplane.act.mig.documents import layout_of_document, outcome_of_document, piece_document
from controlplane.domain.errors import ConflictError, ControlPlaneError, NotFoundError, TargetUnreachableError
from controlplane.domain.mig import GpuLayout, LayoutOutcome, LayoutState, Slice

_NO_MIG = "it lets nobody cut its GPUs: start it with --mig and --token-file"
_NOT_TOLD = "its answer is not that of an agent of this version"


class MigAgents:
    """Agents by the name of their node, each by its URL without a path. Adapts port MigActuator.

    `token` gives the bearer token, anew for each request; what it raises as ValueError is told as ConflictError.
    `change_timeout_s` is more than an agent's own deadline, so that the agent tells what came of a change.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        token: Callable[[], str],
        *,
        read_timeout_s: float = 15.0,
        change_timeout_s: float = 180.0,
    ) -> None:
        """Connects to nothing yet."""
        self._urls = {node: url.rstrip("/") for node, url in urls.items()}
        self._token = token
        self._read_timeout_s = read_timeout_s
        self._change_timeout_s = change_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        """The GPUs of a node. Raises TargetUnreachableError, ConflictError where it lets nobody cut, NotFoundError."""
        status, document = await self._ask(node, "GET", self._read_timeout_s)
        if status != 200:
            raise _refused(node, status, document)
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
        state = LayoutState.UNREACHABLE if status >= 500 else LayoutState.REFUSED
        return LayoutOutcome(gpu, state, detail=str(_refused(node, status, document)))

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self, node: str, method: str, timeout_s: float, body: Mapping[str, Any] | None = None
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
            f"{self._urls[node]}/mig",
            json=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        )
        try:
            async with request as response:
                status, text = response.status, await response.text()
        except TimeoutError:
            raise TargetUnreachableError(f"agent {node}", f"no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TargetUnreachableError(f"agent {node}", _why(error)) from None
        return status, _document(text)


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refused(node: str, status: int, document: Mapping[str, Any]) -> ControlPlaneError:
    detail = document.get("detail")
    if status == 404 and not detail:
        return ConflictError(f"agent {node}: {_NO_MIG}")
    if status >= 500:
        return TargetUnreachableError(f"agent {node}", str(detail or f"answered HTTP {status}"))
    return ConflictError(f"agent {node}: {detail or f'answered HTTP {status}'}")


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.InvalidURL):
        return "its URL is not valid"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = getattr(cause, "errno", None)
    return os.strerror(number).lower() if number and number > 0 else str(error) or type(error).__name__
