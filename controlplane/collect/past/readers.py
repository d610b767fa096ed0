"""The readers of live metrics, given the pages of the past: they make of them what they would have made then."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from urllib.parse import urlsplit

from controlplane.collect.fleet import gateway_wanted
from controlplane.collect.gateway import Gateway
from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.page_server import PageServer
from controlplane.collect.past.samples import PastScrape, Scrapes, past_scrapes
from controlplane.collect.prometheus.api import Prometheus
from controlplane.collect.servers import series_of, server_reader, through_prometheus
from controlplane.domain.errors import ControlPlaneError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ServerSpec, WorkloadSpec
from controlplane.domain.observation import Interval, LatencyInterval
from controlplane.domain.sources import GatewaySpec, Through

_STALE_S = 300.0
"""A target without a scrape for so long had left (Prometheus' own bound for a series)."""
_NO_SCRAPES = "no scrape of it is known"


class _Replay:
    """Stands in for what would be asked: gives what was scraped then."""

    def __init__(self) -> None:
        self.told: Metrics | ControlPlaneError = NotToldError("nothing was read yet")
        self.by_target: Mapping[str, Metrics | ControlPlaneError] = {}

    async def metrics(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """As MetricsSource."""
        del pages, timeout_s, clock
        if isinstance(self.told, ControlPlaneError):
            raise self.told
        return self.told

    async def targets(
        self, pages: Pages, timeout_s: float, clock: Callable[[], float]
    ) -> Mapping[str, Metrics | ControlPlaneError]:
        """As GatewaySource."""
        del pages, timeout_s, clock
        return self.by_target


class PastServer:
    """One server as a Prometheus remembers it. `distances` are those between its scrapes, in seconds.

    `why` says why nothing was read of it, empty once something was.
    `discovered`: it is expected to be measured only while it was there.
    """

    def __init__(self, spec: ServerSpec, models: Sequence[ModelSpec], *, discovered: bool = False) -> None:
        observed = [replace(model, mode=Mode.OBSERVE, probe=None) for model in models]
        self.name = spec.name
        self.models = frozenset(model.name for model in models)
        self.distances: deque[float] = deque(maxlen=1000)
        self.why = _NO_SCRAPES
        self._wanted = through_prometheus(spec)
        self._replay = _Replay()
        reader = server_reader(spec, observed, self._replay, max_age_s=math.inf, keep_s=0.0)
        if not isinstance(reader, PageServer):
            raise TypeError(f"{spec.name} cannot be read by its metrics alone")
        self._reader = reader
        self._discovered = discovered
        self._scraped: list[float] = []
        self._scraped_before = -math.inf

    async def read(self, prometheus: Prometheus, since: float, until: float) -> None:
        """Take in the scrapes in (since, until]. Raises what `past_scrapes` does, and NotToldError for two targets."""
        pages = Pages()
        for scrape in _of_one(self.name, await past_scrapes(prometheus, self._wanted, since, until)):
            self._replay.told = _told(self.name, scrape)
            error = await self._reader.read(pages, 0.0, partial(float, scrape.at))
            self.why = str(error) if error and self.why else ""
            if self._scraped or self._scraped_before > -math.inf:
                self.distances.append(scrape.at - (self._scraped[-1] if self._scraped else self._scraped_before))
            self._scraped.append(scrape.at)

    def intervals(self, model: str) -> Sequence[Interval]:
        """What it did for a model, oldest first."""
        return tuple(self._reader.units[model].intervals)

    def latencies(self, model: str) -> Sequence[LatencyInterval]:
        """What its histograms counted for a model."""
        return tuple(self._reader.latencies().get(model, ()))

    def there(self, until: float) -> tuple[float, float] | None:
        """From when to when it was there, of what was read and not forgotten; None: it always was to be."""
        if not self._discovered:
            return None
        if not self._scraped:
            return (until, until)
        first, last = self._scraped[0], self._scraped[-1]
        stayed = first - self._scraped_before <= _STALE_S
        return (-math.inf if stayed else first, math.inf if last >= until else last)

    def forget(self, until: float) -> None:
        """Let go of what ended before a moment."""
        self._reader.reading(until)
        gone = [at for at in self._scraped if at < until]
        if gone:
            self._scraped_before = gone[-1]
            self._scraped = self._scraped[len(gone) :]


class PastGateway:
    """One gateway as a Prometheus remembers it; `distances` and `why` as of a PastServer."""

    def __init__(self, spec: GatewaySpec, models: Sequence[ModelSpec]) -> None:
        self.name = f"gateway {spec.name}"
        self.distances: deque[float] = deque(maxlen=1000)
        self.why = _NO_SCRAPES
        self._wanted = gateway_wanted(spec, models)
        self._replay = _Replay()
        self._reader = Gateway(spec, models, self._replay, max_age_s=math.inf, keep_s=0.0)

    async def read(self, prometheus: Prometheus, since: float, until: float) -> None:
        """Take in the scrapes in (since, until]. Raises what `past_scrapes` does."""
        pages = Pages()
        found = await past_scrapes(prometheus, self._wanted, since, until)
        for scrapes in found.values():
            self.distances.extend(after.at - before.at for before, after in pairwise(scrapes))
        for told in _rounds(found):
            self._replay.by_target = {target: _told(self.name, scrape) for target, scrape in told.items()}
            error = await self._reader.read(pages, 0.0, partial(max, [scrape.at for scrape in told.values()]))
            self.why = str(error) if error and self.why else ""

    def latencies(self, model: str) -> Sequence[LatencyInterval]:
        """What its histograms counted for a model."""
        return tuple(self._reader.latencies().get(model, ()))

    def forget(self, until: float) -> None:
        """Let go of what ended before a moment."""
        self._reader.reading(until)


def server_at(spec: ServerSpec, prometheus: str, models: Iterable[ModelSpec]) -> PastServer | None:
    """A server of the configuration, if these models run on it and that Prometheus may know it.

    One that is not read through it is looked for by the host and port of its metrics page, which a Prometheus calls
    the instance unless it is told otherwise.
    """
    own = [model for model in models if spec.name in model.runs_on]
    through = _through(spec.through, spec.metrics, prometheus)
    if not own or through is None or not series_of(spec):
        return None
    return PastServer(replace(spec, through=through), own)


def member_of(
    workload: WorkloadSpec, prometheus: str, target: tuple[str, str], models: Iterable[ModelSpec]
) -> PastServer:
    """A server of a workload whose servers that Prometheus finds, by its target's job and instance."""
    labels = tuple(zip(("job", "instance"), target, strict=True))
    spec = replace(workload.server("/".join(target), ""), through=Through(prometheus, labels))
    return PastServer(spec, [model for model in models if workload.name in model.workloads], discovered=True)


def gateways_at(specs: Iterable[GatewaySpec], prometheus: str, models: Sequence[ModelSpec]) -> Iterator[PastGateway]:
    """The gateways that a Prometheus may know, as `server_at` finds servers."""
    for spec in specs:
        through = _through(spec.through, spec.page, prometheus)
        if through is not None:
            yield PastGateway(replace(spec, through=through), models)


def _through(through: Through | None, page: str, prometheus: str) -> Through | None:
    if through is None:
        return Through(prometheus, (("instance", urlsplit(page).netloc),)) if page else None
    return through if through.prometheus == prometheus else None


def _told(name: str, scrape: PastScrape) -> Metrics | ControlPlaneError:
    return scrape.metrics or TargetUnreachableError(f"{name} metrics page", "it was not scraped")


def _of_one(name: str, found: Scrapes) -> Iterable[PastScrape]:
    """The scrapes of what should be one target, also of targets that came after each other."""
    in_order = sorted((scrapes for scrapes in found.values() if scrapes), key=lambda scrapes: scrapes[0].at)
    for before, after in pairwise(in_order):
        if after[0].at <= before[-1].at:
            raise NotToldError(f"{name}: its labels match {len(found)} targets: {' and '.join(sorted(found))}")
    return (scrape for scrapes in in_order for scrape in scrapes)


def _rounds(found: Scrapes) -> Iterator[dict[str, PastScrape]]:
    """The scrapes of all targets together, each once in a round."""
    told: dict[str, PastScrape] = {}
    every = [(target, scrape) for target, scrapes in found.items() for scrape in scrapes]
    for target, scrape in sorted(every, key=lambda entry: entry[1].at):
        if target in told:
            yield told
            told = {}
        told[target] = scrape
    if told:
        yield told
