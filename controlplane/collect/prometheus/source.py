"""The metrics of targets that a Prometheus scrapes: a query for all targets of which the same series are wanted.

Prometheus gives the value of a series as of a moment, up to five minutes after the scrape it is from
(https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness). So that nothing old is taken for new, the
same query asks when each target was scraped last, and whether that succeeded: one query sees one state of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.prometheus.answer import Found, Scrape, Wanted, by_target, series_query, shown
from controlplane.collect.prometheus.api import Prometheus
from controlplane.collect.prometheus.clock import PrometheusClock
from controlplane.domain.errors import ControlPlaneError, NotToldError, TargetUnreachableError


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest scrape of a target that was told of: when by Prometheus' clock, by ours, and its series by name."""

    scraped_at: float
    at: float
    series: Mapping[str, int]


class PrometheusSource:
    """One Prometheus, asked once a round for everybody who is read through it.

    The newest scrape is told as too old when that is more than `max_age_s` ago and it was told before, or failed.
    """

    def __init__(self, prometheus: Prometheus, *, max_age_s: float) -> None:
        self._prometheus = prometheus
        self._where = f"Prometheus {prometheus.spec.name}"
        self._max_age_s = max_age_s
        self._wanted: tuple[Wanted, ...] = ()
        self._told: dict[str, Mapping[str, Metrics | ControlPlaneError] | ControlPlaneError] = {}
        self._newest: dict[str, dict[str, _Newest]] = {}
        self._clock = PrometheusClock()

    def follow(self, wanted: Iterable[Wanted]) -> None:
        """Ask for these from now on."""
        self._wanted = tuple(wanted)
        names = {each.name for each in self._wanted}
        self._newest = {name: newest for name, newest in self._newest.items() if name in names}
        self._told = {name: told for name, told in self._told.items() if name in names}

    def targets(self, name: str) -> Mapping[str, Metrics | ControlPlaneError]:
        """What the newest round told of each target with the labels of `name`; at least one.

        Raises NotToldError when it told nothing of any.
        """
        told = self._told.get(name) or NotToldError(f"{name}: {self._where} was not asked yet")
        if isinstance(told, ControlPlaneError):
            raise told
        return told

    def one(self, name: str) -> OneTarget:
        """The metrics of `name`, whose labels are those of one target."""
        return OneTarget(self, name)

    def every(self, name: str) -> EveryTarget:
        """The metrics of all targets with the labels of `name`."""
        return EveryTarget(self, name)

    async def read(self, clock: Callable[[], float]) -> None:
        """Ask for all that is wanted. Never raises for a failing Prometheus: nothing is told then."""
        alike: dict[object, list[Wanted]] = {}
        for wanted in self._wanted:
            alike.setdefault((wanted.series, wanted.where), []).append(wanted)
        for several in alike.values():
            before = clock()
            try:
                found = await self._prometheus.understood(series_query(several), partial(by_target, several))
            except ControlPlaneError as error:
                self._told |= {wanted.name: NotToldError(f"{wanted.name}: {error}") for wanted in several}
                continue
            self._absorb(several, found, before, clock())

    def close(self) -> None:
        """Let go of the Prometheus."""
        self._prometheus.close()

    def _absorb(self, several: Sequence[Wanted], found: Found, before: float, after: float) -> None:
        if found.at is not None:
            self._clock.seen(found.at, before, after)
        for wanted in several:
            self._told[wanted.name] = self._targets(wanted, found)

    def _targets(self, wanted: Wanted, answer: Found) -> dict[str, Metrics | ControlPlaneError] | ControlPlaneError:
        before = self._newest.get(wanted.name, {})
        lacking = NotToldError(f"{wanted.name}: the answer of {self._where} was partial: {'; '.join(answer.warnings)}")
        told: dict[str, Metrics | ControlPlaneError] = {}
        newest: dict[str, _Newest] = {}
        for target, scrape in answer.scrapes[wanted.name].items():
            try:
                told[target], newest[target] = self._metrics(wanted, scrape, before.get(target), answer, lacking)
            except ControlPlaneError as error:
                told[target] = error
        if answer.warnings:
            told |= dict.fromkeys(before.keys() - told.keys(), lacking)
        # a target that is not told of now may be again, with the same scrape
        self._newest[wanted.name] = {key: old for key, old in before.items() if key in told or not told} | newest
        if told:
            return told
        labels = shown(dict(wanted.labels))
        return (
            lacking if answer.warnings else NotToldError(f"{wanted.name}: not a target of {self._where}: no up{labels}")
        )

    def _metrics(
        self, wanted: Wanted, scrape: Scrape, newest: _Newest | None, answer: Found, lacking: NotToldError
    ) -> tuple[Metrics, _Newest]:
        """The metrics of one target. Raises NotToldError, TargetUnreachableError."""
        name = wanted.name
        if len(scrape.ups) > 1:
            several = " and ".join(sorted(shown(labels) for labels, _ in scrape.ups))
            raise NotToldError(f"{name}: {self._where} has one target twice: {several}: name a label that tells them")
        at = None if scrape.scraped_at is None else self._clock.ours(scrape.scraped_at)
        if scrape.scraped_at is None or answer.at is None or at is None:
            raise (
                lacking if answer.warnings else NotToldError(f"{name}: {self._where} does not tell when it scraped it")
            )
        ((_, up),) = scrape.ups
        is_new = newest is None or newest.scraped_at != scrape.scraped_at
        age_s = answer.at - scrape.scraped_at
        if age_s > self._max_age_s and not (is_new and up):
            raise NotToldError(f"{name}: not scraped by {self._where} for {age_s:.0f} s")
        if not up:
            raise TargetUnreachableError(f"{name} metrics page", f"{self._where} cannot scrape it")
        series = {metric: len(samples) for metric, samples in scrape.samples.items()}
        if answer.warnings and (
            newest is None or any(series.get(metric, 0) < count for metric, count in newest.series.items())
        ):
            raise lacking
        if newest is None or is_new:
            newest = _Newest(scrape.scraped_at, at, series)
        return Metrics(newest.at, scrape.samples), newest


@dataclass(frozen=True, slots=True)
class OneTarget:
    """One target's metrics out of a PrometheusSource, which is asked before, once for all."""

    source: PrometheusSource
    name: str

    async def metrics(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """As MetricsSource."""
        del pages, timeout_s, clock
        targets = self.source.targets(self.name)
        if len(targets) > 1:
            raise NotToldError(f"{self.name}: its labels match {len(targets)} targets: {' and '.join(sorted(targets))}")
        (told,) = targets.values()
        if isinstance(told, ControlPlaneError):
            raise told
        return told


@dataclass(frozen=True, slots=True)
class EveryTarget:
    """The metrics of all targets of a name out of a PrometheusSource, which is asked before, once for all."""

    source: PrometheusSource
    name: str

    async def targets(
        self, pages: Pages, timeout_s: float, clock: Callable[[], float]
    ) -> Mapping[str, Metrics | ControlPlaneError]:
        """As GatewaySource."""
        del pages, timeout_s, clock
        return self.source.targets(self.name)
