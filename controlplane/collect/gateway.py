"""A gateway's histograms of request durations: what users see."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from controlplane.collect.gateway_series import GatewayCounts, GatewaySeries
from controlplane.collect.http import Pages
from controlplane.collect.kept import forget_before
from controlplane.collect.metrics_source import Metrics, MetricsSource
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import LatencyInterval
from controlplane.domain.signal import Known, Missing, Signal, aged
from controlplane.domain.sources import GatewaySpec


class GatewaySource(Protocol):
    """Gives the metrics of a gateway, target by target: it may be many processes."""

    async def targets(
        self, pages: Pages, timeout_s: float, clock: Callable[[], float]
    ) -> Mapping[str, Metrics | ControlPlaneError]:
        """The newest metrics of each. Raises TargetUnreachableError, NotToldError, MalformedPageError."""
        ...


class OnePage:
    """A gateway that is one page."""

    def __init__(self, source: MetricsSource) -> None:
        self._source = source

    async def targets(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Mapping[str, Metrics]:
        """As GatewaySource."""
        return {"": await self._source.metrics(pages, timeout_s, clock)}


class Gateway:
    """One gateway. A model is one of its own from its first series on; before, nothing is said about it.

    The model label holds what `spec.models` says, else the model's served name or its name in the configuration. Each
    process of the gateway is differenced on its own, since a sum over them hides that one began anew.
    """

    def __init__(
        self,
        spec: GatewaySpec,
        models: Sequence[ModelSpec],
        source: GatewaySource,
        *,
        max_age_s: float,
        keep_s: float,
    ) -> None:
        self.spec = spec
        self._source = source
        self._max_age_s = max_age_s
        self._keep_s = keep_s
        self._series = GatewaySeries(spec, models)
        self._counts: dict[str, GatewayCounts] = {}
        self._seen = False
        self._latencies: dict[str, deque[LatencyInterval]] = {}
        self._live: Signal[bool] = Missing("never read")
        self._failed = False
        self._why = ""

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing page."""
        try:
            targets = await self._source.targets(pages, timeout_s, clock)
        except (TargetUnreachableError, NotToldError, MalformedPageError) as error:
            return self._missed(clock(), error)
        self._counts = {name: self._counts.get(name) or GatewayCounts() for name in targets}
        errors: list[ControlPlaneError] = []
        for name, told in targets.items():
            try:
                if isinstance(told, ControlPlaneError):
                    raise told
                self.absorb(told, name)
            except (TargetUnreachableError, NotToldError, MalformedPageError) as error:
                self._counts[name].missed(clock())
                errors.append(error)
        if len(errors) == len(targets):
            return self._missed(clock(), errors[0])
        if not self._seen:
            what = f"gateway {self.spec.name}: no target has a series {self._series.bucket} that is asked for"
            return self._missed(clock(), NotToldError(what))
        return errors[0] if errors else None

    def absorb(self, metrics: Metrics, target: str = "") -> None:
        """Take in the metrics of one process. Raises MalformedPageError, also for a page without the histogram."""
        if self.spec.through is None and self.spec.histogram not in metrics.text:
            raise MalformedPageError(f"gateway {self.spec.name}: its page has no histogram {self.spec.histogram!r}")
        # a Prometheus tells nothing of a histogram without series: whether there is one is seen by the first
        self._seen = self._seen or self.spec.through is None or self._series.bucket in metrics.samples
        counts = self._counts.setdefault(target, GatewayCounts())
        for model, counted in counts.seen(metrics.at, self._series.read(metrics.samples)).items():
            interval = LatencyInterval(Indicator.LATENCY, *counted, gateway=self.spec.name)
            self._latencies.setdefault(model, deque()).append(interval)
        if self._seen:
            self._live, self._why, self._failed = Known(value=True, observed_at=metrics.at), "", False

    def reading(self, now: float) -> Signal[bool]:
        """Known where it was read; where the last try failed, stale or missing, with why."""
        for kept in self._latencies.values():
            forget_before(now - self._keep_s, kept)
        return aged(self._live, now, 0 if self._failed else self._max_age_s, self._why)

    def latencies(self) -> Mapping[str, Sequence[LatencyInterval]]:
        """Histogram intervals by model, of all processes."""
        return self._latencies

    def _missed(self, at: float, error: ControlPlaneError) -> ControlPlaneError:
        self._why = str(error)
        self._failed = not isinstance(error, NotToldError)
        if isinstance(self._live, Missing):
            self._live = Missing(self._why)
        for counts in self._counts.values():
            counts.missed(at)
        return error
