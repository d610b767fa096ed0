"""GPUs of another machine, from the page of its agent or of its DCGM exporter."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.collect.gpu.agent_page import gpus_of_page
from controlplane.collect.gpu.dcgm import gpus_of_dcgm
from controlplane.collect.gpu.gpus import Gpus, aged_gpus
from controlplane.collect.http import Pages
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, TargetUnreachableError
from controlplane.domain.signal import Missing
from controlplane.domain.sources import AgentKind, AgentSpec

_PAGES = {AgentKind.AGENT: gpus_of_page, AgentKind.DCGM: gpus_of_dcgm}


class AgentTarget:
    """One node. While its page cannot be read its GPUs are those of the last one, until they are stale."""

    def __init__(self, spec: AgentSpec, *, max_age_s: float) -> None:
        self.spec = spec
        self._max_age_s = max_age_s
        self._gpus: Gpus = Missing("never read")
        self._why = ""

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing page."""
        try:
            text = await pages.get_text(f"agent {self.spec.name}", self.spec.url, timeout_s)
            self._gpus, self._why = _PAGES[self.spec.kind](text, self.spec.name, clock()), ""
        except (TargetUnreachableError, MalformedPageError) as error:
            self._why = error.why if isinstance(error, TargetUnreachableError) else str(error)
            if isinstance(self._gpus, Missing):
                self._gpus = Missing(self._why)
            return error
        return None

    def reading(self, now: float) -> Gpus:
        """Its GPUs as of the newest page, aged."""
        return aged_gpus(self._gpus, now, self._max_age_s, self._why)
