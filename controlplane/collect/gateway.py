"""A gateway's page with a histogram of request durations: what users see."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from controlplane.collect.exposition import PageReader
from controlplane.collect.families import BUCKET
from controlplane.collect.histograms import Buckets, Group, HistogramLedger, histograms
from controlplane.collect.http import Pages
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import GatewaySpec, ModelSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import LatencyInterval
from controlplane.domain.signal import Known, Missing, Signal, aged


class Gateway:
    """One gateway. A model is one of its own from its first series on the page; before, nothing is said about it.

    The model label holds a model's served name; its name in the configuration is understood too.
    """

    def __init__(self, spec: GatewaySpec, models: Sequence[ModelSpec], *, max_age_s: float, keep_s: float) -> None:
        self.spec = spec
        self._models = models
        self._max_age_s = max_age_s
        self._keep_s = keep_s
        self._bucket = f"{spec.histogram}{BUCKET}"
        self._error_codes = re.compile(spec.error_codes)
        self._ledger: HistogramLedger[str] = HistogramLedger()
        self._reader = PageReader(frozenset({self._bucket}))
        self._latencies: dict[str, deque[LatencyInterval]] = {}
        self._live: Signal[bool] = Missing("never read")
        self._why = ""

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing page."""
        try:
            text = await pages.get_text(f"gateway {self.spec.name}", self.spec.page, timeout_s)
            self.absorb(clock(), text)
        except (TargetUnreachableError, MalformedPageError) as error:
            self._live, self._why = Known(value=False, observed_at=clock()), str(error)
            self._ledger.missed(clock())
            return error
        return None

    def absorb(self, at: float, text: str) -> None:
        """Take in a page. Raises MalformedPageError, also for one that does not even declare the histogram."""
        if self.spec.histogram not in text:
            raise MalformedPageError(f"gateway {self.spec.name}: its page has no histogram {self.spec.histogram!r}")
        groups = histograms(self._reader.parse(text).get(self._bucket, ()))
        by_label: dict[str, dict[Group, Buckets]] = {}
        errors: set[Group] = set()
        for group, buckets in groups.items():
            labels = dict(group)
            by_label.setdefault(labels.get(self.spec.model_label, ""), {})[group] = buckets
            if self.spec.code_label and self._error_codes.fullmatch(labels.get(self.spec.code_label, "")):
                errors.add(group)
        counted = self._ledger.seen(at, by_label, frozenset(errors))
        for model in self._models:
            delta = counted.get(model.served_name) or counted.get(model.name)
            if delta:
                interval = LatencyInterval(Indicator.LATENCY, *delta)
                self._latencies.setdefault(model.name, deque()).append(interval)
        self._live, self._why = Known(value=True, observed_at=at), ""

    def reading(self, now: float) -> Signal[bool]:
        """Whether its page was read."""
        for kept in self._latencies.values():
            while kept and kept[0].end < now - self._keep_s:
                kept.popleft()
        return aged(self._live, now, self._max_age_s, self._why)

    def latencies(self) -> Mapping[str, Sequence[LatencyInterval]]:
        """Histogram intervals by model."""
        return self._latencies
