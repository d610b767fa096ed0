"""What a Prometheus remembers of targets: the pages that it scraped, in the order of their scrapes.

Every scrape leaves a sample of `up`, and the samples of a page have its moment, so that pages can be put together again
(https://prometheus.io/docs/concepts/jobs_instances/#automatically-generated-labels-and-time-series).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from controlplane.collect.exposition import Labels
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.prometheus.answer import Wanted, as_scraped, selector, target_of, up_selector, up_where
from controlplane.collect.prometheus.api import Prometheus, Series
from controlplane.domain.errors import AnswerTooLargeError, NotToldError

_NAME = "__name__"
_LEAST_S = 60.0


@dataclass(frozen=True, slots=True)
class PastScrape:
    """One scrape of a target at `at`, unix seconds of Prometheus' clock; `metrics` None: it failed."""

    at: float
    metrics: Metrics | None


@dataclass(slots=True)
class _Target:
    """The scrapes of one target: whether they succeeded, its labels then, and what was on the page."""

    up: dict[float, tuple[bool, Labels]] = field(default_factory=dict)
    pages: dict[float, dict[str, list[tuple[Labels, float]]]] = field(default_factory=dict)


Scrapes: TypeAlias = Mapping[str, tuple[PastScrape, ...]]
"""By target, oldest first."""


async def past_scrapes(prometheus: Prometheus, wanted: Wanted, since: float, until: float) -> Scrapes:
    """The scrapes in (since, until] of all targets that have the labels of `wanted`.

    Asked for in parts where an answer would be too large. Raises what `Prometheus.past` does, and NotToldError for a
    part of an answer or a target that is there twice.
    """
    try:
        return await _asked(prometheus, wanted, since, until)
    except AnswerTooLargeError:
        if until - since <= _LEAST_S:
            raise
    middle = (since + until) / 2
    first = await past_scrapes(prometheus, wanted, since, middle)
    second = await past_scrapes(prometheus, wanted, middle, until)
    return {name: (*first.get(name, ()), *second.get(name, ())) for name in first.keys() | second.keys()}


async def _asked(prometheus: Prometheus, wanted: Wanted, since: float, until: float) -> Scrapes:
    targets: dict[str, _Target] = {}
    ups = await _series(prometheus, wanted, up_selector(wanted), since, until)
    for series in ups:
        labels = {name: text for name, text in series.labels.items() if name != _NAME}
        target = targets.setdefault(target_of(labels), _Target())
        for at, value in series.samples:
            if at in target.up:
                raise NotToldError(f"{wanted.name}: Prometheus {prometheus.spec.name} has {target_of(labels)} twice")
            target.up[at] = (value == 1, labels)
    if any(up for target in targets.values() for up, _ in target.up.values()):
        for series in await _series(prometheus, wanted, selector(wanted), since, until):
            if found := targets.get(target_of(series.labels)):
                _add(found, series, wanted)
    return {name: _scrapes(target) for name, target in targets.items()}


async def _series(
    prometheus: Prometheus, wanted: Wanted, selected: str, since: float, until: float
) -> tuple[Series, ...]:
    past = await prometheus.past(selected, since, until)
    if past.warnings:
        why = "; ".join(past.warnings)
        raise NotToldError(f"{wanted.name}: the answer of Prometheus {prometheus.spec.name} was partial: {why}")
    return past.series


def _add(target: _Target, series: Series, wanted: Wanted) -> None:
    """The samples of a series, with the labels they had on the page."""
    name = series.labels.get(_NAME, "")
    of: Labels | None = None
    own: Labels = {}
    for at, value in series.samples:
        scraped = target.up.get(at)
        if scraped is None:
            continue  # of another moment than any scrape: a page with timestamps of its own
        if scraped[1] is not of:
            of = scraped[1]
            ((own, _),) = as_scraped({name: [(series.labels, value)]}, of, wanted.kept)[name]
        target.pages.setdefault(at, {}).setdefault(name, []).append((own, value))


def _scrapes(target: _Target) -> tuple[PastScrape, ...]:
    return tuple(
        PastScrape(at, Metrics(at, target.pages.get(at, {})) if up else None)
        for at, (up, _) in sorted(target.up.items())
    )


async def past_targets(
    prometheus: Prometheus, where: Sequence[tuple[str, str]], since: float, until: float
) -> tuple[tuple[str, str], ...]:
    """(job, instance) of every target that was scraped in (since, until] and whose labels match, each as a whole."""
    past = await prometheus.past(up_where(where), since, until)
    if past.warnings:
        raise NotToldError(f"the answer of Prometheus {prometheus.spec.name} was partial: {'; '.join(past.warnings)}")
    return tuple(sorted({(s.labels.get("job", ""), s.labels.get("instance", "")) for s in past.series}))
