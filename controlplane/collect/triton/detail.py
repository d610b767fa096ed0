"""What a Triton's metrics page tells beside what decisions rest on: shown, republished, or an indicator."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from controlplane.collect import families
from controlplane.collect.exposition import Labels, Page
from controlplane.collect.histograms import Buckets, Group, HistogramLedger, histograms, in_seconds
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Counter, Counters, HostReading, LatencyInterval
from controlplane.domain.signal import Known, Missing, Signal, aged

REFUSED = Missing("no counter of Triton shows requests that find the queue full: a gateway or a probe does")
_NO_LOAD = Missing("not exported: Triton before 24.11, or not loaded")
_US = 1e-6
_MS = 1e-3
_COUNTERS = (
    ((Counter.INFERENCES, ""), families.TRITON_INFERENCES, 1.0),
    ((Counter.EXECUTIONS, ""), families.TRITON_EXECUTIONS, 1.0),
    *(((Counter.COMPUTE_S, phase), name, _US) for phase, name in families.TRITON_COMPUTE_US.items()),
    *(((Counter.RESPONSE_CACHE, result), name, 1.0) for result, name in families.TRITON_CACHE.items()),
)


@dataclass(slots=True)
class Details:
    """Of one model: counters over all its versions and GPUs, seconds of its newest load, GPUs, first responses."""

    counters: dict[tuple[Counter, str], float] = field(default_factory=dict)
    load_s: float | None = None
    gpu_uuids: tuple[str, ...] = ()
    first_response: dict[Group, Buckets] = field(default_factory=dict)


def read_details(page: Page, wanted: Collection[str] | None = None) -> dict[str, Details]:
    """Details by model, all or the wanted ones. Raises MalformedPageError for a histogram that is none."""
    found: dict[str, Details] = {}
    for key, family, unit in _COUNTERS:
        for labels, value in page.get(family, ()):
            model = labels.get(families.TRITON_MODEL, "")
            if wanted is None or model in wanted:
                counters = found.setdefault(model, Details()).counters
                counters[key] = counters.get(key, 0.0) + value * unit
    for labels, value in page.get(families.TRITON_LOAD_S, ()):
        if (details := found.get(labels.get(families.TRITON_MODEL, ""))) and math.isfinite(value):
            details.load_s = max(value, details.load_s or 0.0)
    for labels, _ in page.get(families.TRITON_INFERENCES, ()):
        gpu, counted = labels.get(families.TRITON_GPU, ""), found.get(labels.get(families.TRITON_MODEL, ""))
        if gpu and counted and gpu not in counted.gpu_uuids:
            counted.gpu_uuids += (gpu,)
    for group, buckets in histograms(_of(page, families.TRITON_FIRST_RESPONSE_MS, wanted)).items():
        model = dict(group).get(families.TRITON_MODEL, "")
        found.setdefault(model, Details()).first_response[group] = in_seconds(buckets, _MS)
    return found


def _of(page: Page, histogram: str, wanted: Collection[str] | None) -> list[tuple[Labels, float]]:
    samples = page.get(f"{histogram}{families.BUCKET}", ())
    return [s for s in samples if wanted is None or s[0].get(families.TRITON_MODEL, "") in wanted]


def read_host(page: Page) -> HostReading:
    """The machine and its GPUs."""
    return {
        (gauge, labels.get(families.TRITON_GPU, "")): value
        for gauge, family in families.TRITON_HOST.items()
        for labels, value in page.get(family, ())
        if math.isfinite(value)
    }


class UnitDetails:
    """The newest details of one model on one server, and what was counted of its first responses."""

    def __init__(self) -> None:
        self.latencies: deque[LatencyInterval] = deque()
        self._known: Signal[Details] = Missing("never read")
        self._at: float | None = None
        self._histograms: HistogramLedger[str] | None = None

    def seen(self, at: float, details: Details | None) -> None:
        """A page was read; None: the model is not on it."""
        self._known = Missing("not loaded: nothing is counted") if details is None else Known(details, at)
        buckets = details.first_response if details else {}
        if self._histograms is None and buckets:
            self._histograms = HistogramLedger()
            if self._at is not None:
                self._histograms.seen(self._at, {})  # it was not loaded then
        self._at = at
        if self._histograms is None:
            return
        counted = self._histograms.seen(at, {"": buckets} if buckets else {})
        if buckets and "" in counted:
            self.latencies.append(LatencyInterval(Indicator.TTFT, *counted[""]))

    def missed(self, at: float, why: str) -> None:
        """The page could not be read, or is not whole."""
        if isinstance(self._known, Missing):
            self._known = Missing(why)
        if self._histograms is not None:
            self._histograms.missed(at)

    def counters(self, now: float, max_age_s: float) -> Signal[Counters]:
        """What stands on the page; what is no number is left out."""
        if isinstance(self._known, Missing):
            return self._known
        counters: Mapping[tuple[Counter, str], float] = self._known.value.counters
        if not all(map(math.isfinite, counters.values())):
            counters = {key: value for key, value in counters.items() if math.isfinite(value)}
        return aged(Known(counters, self._known.observed_at), now, max_age_s)

    def load_s(self, now: float, max_age_s: float) -> Signal[float]:
        """How long the newest load took."""
        if isinstance(self._known, Missing):
            return self._known
        load_s = self._known.value.load_s
        return _NO_LOAD if load_s is None else aged(Known(load_s, self._known.observed_at), now, max_age_s)

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """GPUs that the model's counters name."""
        return () if isinstance(self._known, Missing) else self._known.value.gpu_uuids
