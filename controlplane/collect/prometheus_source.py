"""The metrics of servers that a Prometheus scrapes: a query for all servers that want the same series.

Prometheus gives the value of a series as of a moment, up to five minutes after the scrape it is from
(https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness). So that nothing old is taken for new, the
same query asks when each target was scraped last, and whether that succeeded: one query sees one state of the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.collect.exposition import Labels, Page
from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.prometheus_api import Answer, Prometheus
from controlplane.domain.errors import ControlPlaneError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import ServerSpec

_NAME = "__name__"
_UP = "up"
_MARK = "controlplane"
"""A label of ours, on what tells when a target was scraped."""
_SCRAPED_AT = "scraped_at"
_EXPORTED = "exported_"
_VALUES_NAMED = 32
"""Labels of more different values than this are not named in a query: it would be long, and Prometheus slow."""


@dataclass(slots=True)
class _Scrape:
    """What an answer holds of one server. More than one of `ups` (labels, value): that many targets match."""

    ups: list[tuple[Labels, float]] = field(default_factory=list)
    scraped_at: float | None = None
    samples: dict[str, list[tuple[Labels, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest scrape of a server that was told of: when by Prometheus' clock, by ours, and its series by name."""

    scraped_at: float
    at: float
    series: Mapping[str, int]


class PrometheusSource:
    """One Prometheus, asked once a round for all servers that are read through it.

    `wanted` gives the names of a server's series, `kept` the labels by which its reader tells models. A scrape older
    than `max_age_s` that is still the newest is told as such.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        *,
        wanted: Callable[[ServerSpec], frozenset[str]],
        kept: Callable[[ServerSpec], frozenset[str]],
        max_age_s: float,
    ) -> None:
        self.name = prometheus.spec.name
        self._prometheus = prometheus
        self._wanted = wanted
        self._kept = kept
        self._max_age_s = max_age_s
        self._servers: tuple[ServerSpec, ...] = ()
        self._told: dict[str, Metrics | ControlPlaneError] = {}
        self._newest: dict[str, _Newest] = {}
        self._offset_s: float | None = None
        """Our clock less Prometheus'."""

    def follow(self, servers: Iterable[ServerSpec]) -> None:
        """Ask for these servers from now on, all read through this Prometheus."""
        self._servers = tuple(servers)
        names = {spec.name for spec in self._servers}
        self._newest = {name: newest for name, newest in self._newest.items() if name in names}
        self._told = {name: told for name, told in self._told.items() if name in names}

    def of(self, server: str) -> ThroughPrometheus:
        """The metrics of one server, as of the newest round."""
        return ThroughPrometheus(self, server)

    def told(self, server: str) -> Metrics:
        """What the newest round told of a server. Raises what a MetricsSource raises."""
        told = self._told.get(server) or NotToldError(f"{server}: Prometheus {self.name} was not asked yet")
        if isinstance(told, ControlPlaneError):
            raise told
        return told

    async def read(self, clock: Callable[[], float]) -> None:
        """One round. Never raises for a failing Prometheus: its servers are not told of then."""
        alike: dict[frozenset[str], list[ServerSpec]] = {}
        for spec in self._servers:
            alike.setdefault(self._wanted(spec), []).append(spec)
        for names, servers in alike.items():
            before = clock()
            try:
                answer = await self._prometheus.query(series_query(names, servers))
            except ControlPlaneError as error:
                self._told |= {spec.name: NotToldError(f"{spec.name}: {error}") for spec in servers}
                continue
            self._absorb(servers, answer, before, clock())

    def _absorb(self, servers: Sequence[ServerSpec], answer: Answer, before: float, after: float) -> None:
        if answer.at is not None:
            # It was asked in between, so that this bounds the offset; one that is within is left alone, so that the
            # distance of two scrapes is exact.
            low, high = before - answer.at, after - answer.at
            self._offset_s = min(high, max(low, (low + high) / 2 if self._offset_s is None else self._offset_s))
        scrapes = by_server(servers, answer)
        for spec in servers:
            try:
                self._told[spec.name] = self._metrics(spec, scrapes.get(spec.name, _Scrape()), answer)
            except ControlPlaneError as error:
                self._told[spec.name] = error

    def _metrics(self, spec: ServerSpec, scrape: _Scrape, answer: Answer) -> Metrics:
        """The metrics of one server. Raises NotToldError, TargetUnreachableError."""
        where, name = f"Prometheus {self.name}", spec.name
        partial = f"{name}: the answer of {where} was partial: {'; '.join(answer.warnings)}"
        if len(scrape.ups) > 1:
            several = " and ".join(sorted(_matchers(labels) for labels, _ in scrape.ups))
            raise NotToldError(f"{name}: its labels match {len(scrape.ups)} targets of {where}: {several}")
        if not scrape.ups or scrape.scraped_at is None or answer.at is None or self._offset_s is None:
            asked = _matchers(dict(spec.through.labels)) if spec.through else ""
            raise NotToldError(partial if answer.warnings else f"{name}: not a target of {where}: no up{asked}")
        ((target, up),) = scrape.ups
        newest = self._newest.get(name)
        is_new = newest is None or newest.scraped_at != scrape.scraped_at
        age_s = answer.at - scrape.scraped_at
        if not is_new and age_s > self._max_age_s:
            raise NotToldError(f"{name}: not scraped by {where} for {age_s:.0f} s")
        if not up:
            raise TargetUnreachableError(f"{name} metrics page", f"{where} cannot scrape it")
        series = {metric: len(samples) for metric, samples in scrape.samples.items()}
        if answer.warnings and (
            newest is None or any(series.get(metric, 0) < count for metric, count in newest.series.items())
        ):
            raise NotToldError(partial)
        if newest is None or is_new:
            newest = self._newest[name] = _Newest(scrape.scraped_at, scrape.scraped_at + self._offset_s, series)
        return Metrics(newest.at, as_scraped(scrape.samples, target, self._kept(spec)))


@dataclass(frozen=True, slots=True)
class ThroughPrometheus:
    """One server's metrics out of a PrometheusSource, which is asked before, once for all."""

    source: PrometheusSource
    server: str

    async def metrics(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """As MetricsSource; also raises NotToldError, when Prometheus has nothing to tell."""
        del pages, timeout_s, clock
        return self.source.told(self.server)


def series_query(names: frozenset[str], servers: Sequence[ServerSpec]) -> str:
    """PromQL for the series of that name of these servers, and for `up` and the scrape time of their targets."""
    values: dict[str, set[str]] = {}
    through = [dict(spec.through.labels) for spec in servers if spec.through]
    for label in set.intersection(*(set(labels) for labels in through)):
        values[label] = {labels[label] for labels in through}
    common = [_matcher(label, found) for label, found in sorted(values.items()) if len(found) <= _VALUES_NAMED]
    wanted = "{" + ",".join([_matcher(_NAME, names | {_UP}), *common]) + "}"
    scraped_at = f"timestamp({_UP}{{{','.join(common)}}})"
    # the label of ours keeps `or` from taking the second for the same as `up`, which has the same labels otherwise
    return f'{wanted} or label_replace({scraped_at}, "{_MARK}", "{_SCRAPED_AT}", "{_MARK}", ".*")'


def by_server(servers: Sequence[ServerSpec], answer: Answer) -> dict[str, _Scrape]:
    """The samples of an answer to `series_query`, by the server whose labels they all have."""
    index: dict[tuple[str, ...], dict[tuple[str | None, ...], list[_Scrape]]] = {}
    found = {spec.name: _Scrape() for spec in servers}
    for spec in servers:
        if spec.through:
            names, texts = zip(*sorted(spec.through.labels), strict=True)
            index.setdefault(names, {}).setdefault(texts, []).append(found[spec.name])
    for labels, value in answer.samples:
        for names, targets in index.items():
            for scrape in targets.get(tuple(map(labels.get, names)), ()):
                if labels.get(_MARK) == _SCRAPED_AT:
                    scrape.scraped_at = value
                elif (metric := labels.get(_NAME, "")) == _UP:
                    scrape.ups.append((labels, value))
                else:
                    scrape.samples.setdefault(metric, []).append((labels, value))
    return found


def as_scraped(samples: Page, target: Labels, kept: frozenset[str]) -> Page:
    """Samples with the labels that they have on the target's page.

    Prometheus adds the labels of the target. Where the page has a label of the same name, that one becomes `exported_`
    of it, or stays with `honor_labels`: those in `kept` are left in place therefore.
    """
    added = {name: text for name, text in target.items() if name != _NAME}
    renamed = {f"{_EXPORTED}{name}": name for name in added}

    def own(labels: Labels) -> Labels:
        mine = {
            name: text
            for name, text in labels.items()
            if name != _NAME and name not in renamed and (name in kept or added.get(name) != text)
        }
        for name in labels.keys() & renamed.keys():
            mine[renamed[name]] = labels[name]
        return mine

    return {metric: [(own(labels), value) for labels, value in found] for metric, found in samples.items()}


def _matcher(label: str, values: Iterable[str]) -> str:
    several = sorted(values)
    if len(several) == 1:
        return f"{label}={_quoted(several[0])}"
    return f"{label}=~{_quoted('|'.join(map(re.escape, several)))}"


def _matchers(labels: Labels) -> str:
    return "{" + ", ".join(f"{name}={_quoted(text)}" for name, text in sorted(labels.items()) if name != _NAME) + "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
