"""What a gateway that routes by model says: to which servers it routes each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from controlplane.collect.http import Pages
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import RoutesSpec, ServerSpec
from controlplane.domain.observation import Routes
from controlplane.domain.signal import Known, Missing, Signal, aged


class RoutesTarget:
    """One gateway. It may name a server as the configuration does, or by its HTTP URL or gRPC endpoint."""

    def __init__(self, spec: RoutesSpec, servers: Sequence[ServerSpec], *, max_age_s: float) -> None:
        self.spec = spec
        self._names = {name: s.name for s in servers for name in (s.grpc, s.http, s.name) if name}
        self._max_age_s = max_age_s
        self._routes: Signal[Routes] = Missing("never read")
        self._why = ""

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing gateway."""
        asked_at = clock()  # what it does is at least as new
        target = f"gateway {self.spec.gateway}"
        try:
            text = await pages.get_text(target, self.spec.url, timeout_s)
            self._routes, self._why = Known(self._read(target, text), asked_at), ""
        except (TargetUnreachableError, MalformedPageError) as error:
            self._why = error.why if isinstance(error, TargetUnreachableError) else str(error)
            if isinstance(self._routes, Missing):
                self._routes = Missing(self._why)
            return error
        return None

    def reading(self, now: float) -> Signal[Routes]:
        """Its newest answer, aged."""
        return aged(self._routes, now, self._max_age_s, self._why)

    def _read(self, target: str, text: str) -> Routes:
        """Raises MalformedPageError. A server that nobody knows is none of ours."""
        try:
            told = json.loads(text)
        except ValueError:
            raise MalformedPageError(f"{target}: not JSON") from None
        if not isinstance(told, dict) or not all(_is_names(servers) for servers in told.values()):
            raise MalformedPageError(f"{target}: not {{model: [server, ...]}}")
        return {
            model: frozenset(self._names[url] for s in servers if (url := s.rstrip("/")) in self._names)
            for model, servers in told.items()
        }


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
