"""How a metrics page of some serving software is to be read: which of its series is which of our signals."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.objectives import Indicator

MAPPED_INDICATORS = (Indicator.TTFT, Indicator.INTER_TOKEN_LATENCY, Indicator.E2E, Indicator.QUEUE_TIME)
"""What histograms of a page may measure. LATENCY is what gateways and probes see."""


@dataclass(frozen=True, slots=True)
class Series:
    """Series of the first of `metrics` that the page has, other names being those of other versions of the software.

    Only series whose label matches its regular expression as a whole, for each of `where`; a label that is absent is
    empty. Values times `unit_s` are seconds, where they are times.
    """

    metrics: tuple[str, ...]
    where: tuple[tuple[str, str], ...] = ()
    unit_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Counters of requests by how they ended, each a sum; empty: the page does not tell."""

    success: tuple[Series, ...] = ()
    failed: tuple[Series, ...] = ()
    rejected: tuple[Series, ...] = ()
    canceled: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True)
class PageMapping:
    """A mapping. `model_label` holds the served name; empty: the whole page is about the server's one model.

    `page` is the page's path below the server's base URL, empty where it has a port of its own. `marks` are metrics
    that tell this software's page before any request was counted. `request_time` and `queue_time` are ever growing
    sums. A signal that is None is not exported.
    """

    name: str
    sources: tuple[str, ...]
    note: str = ""
    page: str = "/metrics"
    marks: tuple[str, ...] = ()
    model_label: str = ""
    pending: Series | None = None
    running: Series | None = None
    kv_cache_usage: Series | None = None
    outcomes: Outcomes = Outcomes()
    request_time: Series | None = None
    queue_time: Series | None = None
    histograms: tuple[tuple[Indicator, Series], ...] = ()

    @property
    def tells_failures(self) -> bool:
        """Whether requests that failed can be told from those that were answered."""
        return bool(self.outcomes.success and self.outcomes.failed)
