"""What one Triton is asked in a round, and what it answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from controlplane.collect.counters import Executions
from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import MetricsSource
from controlplane.collect.triton.detail import read_host
from controlplane.collect.triton.wire import (
    IndexEntry,
    ModelConfig,
    ModelSeries,
    read_config,
    read_index,
    read_series,
    read_stats,
)
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import ServerSpec
from controlplane.domain.observation import HostReading

T = TypeVar("T")
_NOT_YET = NotToldError("not answered yet")


@dataclass(frozen=True, slots=True)
class TritonRound:
    """What one Triton answered at `at`; an error stands in place of what it did not answer.

    `configs` holds those that were asked for. `series_at` is the moment of `series` where others were asked for them,
    None: they were scraped, at `at`.
    """

    at: float
    index: Mapping[str, IndexEntry] | ControlPlaneError
    series: Mapping[str, ModelSeries] | ControlPlaneError
    stats: Mapping[str, Executions] | ControlPlaneError
    configs: Mapping[str, ModelConfig | ControlPlaneError]
    series_at: float | None = None
    host: HostReading = field(default_factory=dict)

    @property
    def counted_at(self) -> float:
        """The moment of `series`."""
        return self.at if self.series_at is None else self.series_at


async def fetch_round(
    pages: Pages,
    source: MetricsSource,
    spec: ServerSpec,
    models: Collection[str],
    due: Callable[[TritonRound], Collection[str]],
    timeout_s: float,
    clock: Callable[[], float],
) -> TritonRound:
    """Ask a Triton everything about `models`, within `timeout_s` seconds all together.

    `due` names those whose configurations are to be read, by what else was answered.
    """
    begun = time.monotonic()
    at, series_at = clock(), None
    host: HostReading = {}
    configs: dict[str, ModelConfig | ControlPlaneError] = {}

    async def series() -> Mapping[str, ModelSeries]:
        nonlocal at, series_at, host
        metrics = await source.metrics(pages, timeout_s, clock)
        if metrics.at < at:
            series_at = metrics.at
        at, host = max(at, metrics.at), read_host(metrics.samples)
        return read_series(metrics.samples, models)

    async def read_configs(answers: TritonRound) -> None:
        names = [name for name in due(answers) if name not in configs]
        left_s = max(0.0, timeout_s - (time.monotonic() - begun))
        found = await asyncio.gather(*(_or_error(_config(pages, spec, name, left_s)) for name in names))
        configs.update(zip(names, found, strict=True))

    async def described() -> Mapping[str, IndexEntry] | ControlPlaneError:
        url = f"{spec.http}/v2/repository/index"
        body = pages.post(f"{spec.name} repository index", url, timeout_s, b"{}")
        index = await _or_error(_read(body, partial(read_index, models=models)))
        # At once, since pages that hang leave no time afterwards; what counters tell of loads is for afterwards.
        await read_configs(TritonRound(at, index, _NOT_YET, _NOT_YET, {}))
        return index

    stats_body = pages.get(f"{spec.name} model statistics", f"{spec.http}/v2/models/stats", timeout_s)
    index, counters, stats = await asyncio.gather(
        described(), _or_error(series()), _or_error(_read(stats_body, partial(read_stats, models=models)))
    )
    answers = TritonRound(at, index, counters, stats, configs, series_at, host)
    await read_configs(answers)
    return answers


async def _config(pages: Pages, spec: ServerSpec, model: str, timeout_s: float) -> ModelConfig:
    url = f"{spec.http}/v2/models/{quote(model, safe='')}/config"
    return read_config(await pages.get(f"{spec.name} configuration of {model}", url, timeout_s))


async def _read(body: Awaitable[bytes], read: Callable[[bytes], T]) -> T:
    return read(await body)


async def _or_error(answer: Awaitable[T]) -> T | ControlPlaneError:
    try:
        return await answer
    except (TargetUnreachableError, NotToldError, MalformedPageError) as error:
        return error
