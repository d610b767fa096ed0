"""Ratios of counters in the past: what a Prometheus would have answered, round by round, given to the reader of now."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from controlplane.collect.exposition import Labels
from controlplane.collect.prometheus.answer import NAME
from controlplane.collect.prometheus.api import Answer, Prometheus, Series
from controlplane.collect.prometheus.clock import PrometheusClock
from controlplane.collect.prometheus.counter_ratio import Key, newest, selectors
from controlplane.collect.prometheus.ratios import AskedCounters
from controlplane.domain.errors import AnswerTooLargeError, ControlPlaneError, NotToldError
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import CounterRatio
from controlplane.domain.observation import RatioInterval

_LOOKBACK_S = 300.0
"""A Prometheus tells a series as it was at most so long ago."""
_LEAST_S = 60.0


class PastRatio:
    """One objective by counters, as a Prometheus that scrapes every `interval_s` seconds remembers them.

    `distances` are those between its readings, in seconds; `why` says why nothing was read, empty once something was.
    """

    def __init__(self, model: str, key: str, ratio: CounterRatio, interval_s: float) -> None:
        self.name = f"{model} {key}"
        self.model = model
        self.distances: deque[float] = deque(maxlen=1000)
        self.why = "no sample of it is known"
        self._ratio = ratio
        self._interval_s = interval_s
        self._asked = AskedCounters(key, ratio, 0.0)
        self._clock = PrometheusClock()
        self._clock.seen(0.0, 0.0, 0.0)  # the past is told in Prometheus' own time
        self._current: dict[Key, tuple[float, float, Labels]] = {}
        self._intervals: deque[RatioInterval] = deque()

    async def read(self, prometheus: Prometheus, since: float, until: float) -> None:
        """Take in the samples in (since, until]. Raises what `Prometheus.past` does, and NotToldError for a part."""
        samples: list[tuple[float, float, Key, Labels]] = []
        for mark, selector in selectors(self._ratio):
            for series in await _past(prometheus, selector.promql, since, until):
                labels: Labels = {name: text for name, text in series.labels.items() if name != NAME}
                key = (mark, frozenset(labels.items()))
                samples += [(at, value, key, labels) for at, value in series.samples]
        samples.sort(key=itemgetter(0))
        todo = deque(samples)
        for end in (*_rounds(since, until, self._interval_s), math.inf):
            while todo and todo[0][0] <= end:
                at, value, key, labels = todo.popleft()
                self._current[key] = (at, value, labels)
            if end < math.inf:
                self._round(end)

    def _round(self, end: float) -> None:
        self._current = {key: found for key, found in self._current.items() if found[0] > end - _LOOKBACK_S}
        answer = Answer(newest(self._current), end)
        try:
            _, interval = self._asked.read(answer, self._clock)
        except ControlPlaneError as error:
            self._asked.missed(end)
            if self.why and self._current:
                self.why = str(error)
            return
        self.why = ""
        if interval is not None:
            self.distances.append(interval.end - interval.start)
            self._intervals.append(interval)

    def intervals(self) -> Sequence[RatioInterval]:
        """What was counted, oldest first."""
        return tuple(self._intervals)

    def forget(self, until: float) -> None:
        """Let go of what ended before a moment."""
        while self._intervals and self._intervals[0].end < until:
            self._intervals.popleft()


def ratios_at(models: Iterable[ModelSpec], prometheus: str, interval_s: float) -> Iterator[PastRatio]:
    """The objectives of models whose counters a Prometheus has."""
    for model in models:
        for objective in model.objectives:
            if isinstance(objective.ratio, CounterRatio) and objective.ratio.prometheus == prometheus:
                yield PastRatio(model.name, objective.key, objective.ratio, interval_s)


def _rounds(since: float, until: float, interval_s: float) -> Iterator[float]:
    """The moments in (since, until] at which it is asked, the same however time is cut."""
    first = math.floor(since / interval_s) + 1
    for number in range(first, math.floor(until / interval_s) + 1):
        yield number * interval_s


async def _past(prometheus: Prometheus, promql: str, since: float, until: float) -> Sequence[Series]:
    try:
        past = await prometheus.past(promql, since, until)
    except AnswerTooLargeError:
        if until - since <= _LEAST_S:
            raise
        middle = (since + until) / 2
        return [*await _past(prometheus, promql, since, middle), *await _past(prometheus, promql, middle, until)]
    if past.warnings:
        raise NotToldError(f"the answer of Prometheus {prometheus.spec.name} was partial: {'; '.join(past.warnings)}")
    return past.series
