"""Which series of a gateway count the requests of which model, and what they counted between two readings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.collect.exposition import Labels, Page
from controlplane.collect.families import BUCKET
from controlplane.collect.histograms import Buckets, Counted, Group, HistogramLedger, histograms, in_seconds
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.sources import GatewaySpec

_ByModel: TypeAlias = dict[str, dict[Group, Buckets]]


@dataclass(frozen=True, slots=True)
class GatewayReading:
    """Histograms in seconds by model; `errors` are groups that count errors.

    `requests`: by model and code, each as a histogram without edges; None where the histograms tell the codes.
    """

    durations: _ByModel
    requests: _ByModel | None
    errors: frozenset[Group]


class GatewaySeries:
    """Finds the series of a gateway's models."""

    def __init__(self, spec: GatewaySpec, models: Sequence[ModelSpec]) -> None:
        self.bucket = f"{spec.histogram}{BUCKET}"
        self.wanted = frozenset({self.bucket, spec.counter} - {""})
        self._spec = spec
        self._where = [(label, re.compile(pattern)) for label, pattern in spec.where]
        self._error_codes = re.compile(spec.error_codes)
        self._models = {model.name: model.name for model in models}
        self._models |= {model.served_name: model.name for model in models}
        called = dict(spec.models)
        self._models = {value: model for value, model in self._models.items() if model not in called}
        self._models |= {value: model for model, value in called.items()}

    def read(self, page: Page) -> GatewayReading:
        """What the samples of one process say. Raises MalformedPageError."""
        durations: _ByModel = {}
        samples = ((labels, value) for _, labels, value in self._samples(page, self.bucket))
        for group, buckets in histograms(samples).items():
            model = self._models[dict(group)[self._spec.model_label]]
            durations.setdefault(model, {})[group] = in_seconds(buckets, self._spec.unit_s)
        requests = self._requests(page) if self._spec.counter else None
        for model, groups in durations.items():
            if requests is not None and model not in requests and any(b.cumulative[-1] for b in groups.values()):
                raise MalformedPageError(
                    f"gateway {self._spec.name}: {self._spec.histogram} has requests of {model}, but"
                    f" {self._spec.counter}, which tells errors, has none"
                )
        return GatewayReading(durations, requests, self._errors(durations if requests is None else requests))

    def _requests(self, page: Page) -> _ByModel:
        found: _ByModel = {}
        for model, labels, value in self._samples(page, self._spec.counter):
            if not math.isfinite(value):
                raise MalformedPageError(f"gateway {self._spec.name}: {self._spec.counter} counts no finite number")
            found.setdefault(model, {})[frozenset(labels.items())] = Buckets((), (value,))
        return found

    def _errors(self, found: Mapping[str, Mapping[Group, Buckets]]) -> frozenset[Group]:
        label = self._spec.code_label
        groups = (group for groups in found.values() for group in groups)
        return frozenset(group for group in groups if label and self._error_codes.fullmatch(dict(group).get(label, "")))

    def _samples(self, page: Page, name: str) -> Iterator[tuple[str, Labels, float]]:
        for labels, value in page.get(name, ()):
            model = self._models.get(labels.get(self._spec.model_label, ""))
            if model and all(pattern.fullmatch(labels.get(label, "")) for label, pattern in self._where):
                yield model, labels, value


class GatewayCounts:
    """Turns consecutive readings of one process of a gateway into what it counted in between, by model."""

    def __init__(self) -> None:
        self._durations: HistogramLedger[str] = HistogramLedger(may_return=True)
        self._requests: HistogramLedger[str] = HistogramLedger(may_return=True)

    def missed(self, at: float) -> None:
        """A reading was tried at `at` and failed."""
        self._durations.missed(at)
        self._requests.missed(at)

    def seen(self, at: float, reading: GatewayReading) -> dict[str, Counted]:
        """What was counted since the reading before; empty at the first."""
        if reading.requests is None:
            return self._durations.seen(at, reading.durations, reading.errors)
        durations = self._durations.seen(at, reading.durations)
        requests = self._requests.seen(at, reading.requests, reading.errors)
        nothing = {model: Counted(counted.start, counted.end, (), (0,), 0) for model, counted in requests.items()}
        return {
            model: _without_errors(counted, requests[model]) if model in requests else counted
            for model, counted in (nothing | durations).items()
        }


def _without_errors(timed: Counted, requests: Counted) -> Counted:
    """A histogram that times errors too, less those, as far as a counter of requests by code tells how many.

    Errors that the gateway answered itself may not have been timed. The timed ones are taken to be the fastest
    requests: that can only make the rest look slower than it was.
    """
    left = min(requests.errors, max(0, sum(timed.counts) - sum(requests.counts)))
    counts: list[int] = []
    for count in timed.counts:
        taken = min(left, count)
        left -= taken
        counts.append(count - taken)
    return timed._replace(counts=tuple(counts), errors=requests.errors)
