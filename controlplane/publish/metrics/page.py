"""The loop's picture as a metrics page. What is missing or stale has no sample: a zero would be a lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from controlplane.domain import names
from controlplane.domain.picture import Picture
from controlplane.domain.routing import Prices
from controlplane.domain.signal import known
from controlplane.publish.metrics.families import FAMILIES
from controlplane.publish.metrics.gpus import Sample, family, gpu_samples
from controlplane.publish.metrics.health import condition_samples, loop_samples, server_samples, workload_samples
from controlplane.publish.metrics.mig import mig_samples
from controlplane.publish.metrics.objectives import objective_samples
from controlplane.publish.metrics.people import people_samples
from controlplane.publish.metrics.scaling import scaling_samples
from controlplane.publish.metrics.served import model_samples
from controlplane.publish.metrics.spend import spend_samples


class PictureMetrics(Collector):
    """A prometheus_client collector over the loop's picture.

    Label values come from the configuration (models, servers, objectives), the servers that are there now, the GPUs,
    and what is one of a few by its type, so the number of series is bounded by them. A decision older than `max_age_s`
    seconds exports nothing of its own. `posts` are those of alerts to Alertmanagers so far, by result, as they grow.
    """

    def __init__(
        self,
        picture: Callable[[], Picture],
        max_age_s: float = 60.0,
        prices: Prices | None = None,
        *,
        posts: Mapping[str, int] | None = None,
    ) -> None:
        self._picture = picture
        self._max_age_s = max_age_s
        self._prices = prices or Prices()
        self._posts = posts or {}

    def describe(self) -> Iterable[Metric]:
        """All families, empty."""
        return [family(of) for of in FAMILIES]

    def collect(self) -> Iterable[Metric]:
        """All families with their samples of now."""
        picture = self._picture()
        families = {of.name: family(of) for of in FAMILIES}
        for name, labels, value in self._samples(picture):
            if value is not None and not math.isnan(value):
                families[name].add_metric(labels, value)
        return list(families.values())

    def _samples(self, picture: Picture) -> Iterator[Sample]:
        yield from model_samples(picture)
        yield from scaling_samples(picture, self._max_age_s)
        yield from objective_samples(picture)
        yield from server_samples(picture)
        yield from workload_samples(picture)
        gpus = known(picture.reading.gpus)
        yield from gpu_samples(gpus or ())
        yield from spend_samples(picture, self._prices)
        yield from mig_samples(picture.mig)
        yield from condition_samples(picture)
        yield from people_samples(picture)
        yield from loop_samples(picture)
        for result, posts in self._posts.items():
            yield names.NOTICES, (result,), float(posts)
