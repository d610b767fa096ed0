"""What a Triton answers, as values: metrics page, repository index, statistics, model configuration.

Protocol: https://github.com/triton-inference-server/server/tree/main/docs/protocol (model repository, statistics,
model configuration extensions).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Required

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from controlplane.collect import families
from controlplane.collect.counters import FAILED, Executed, Executions, Totals
from controlplane.collect.exposition import Labels, Page
from controlplane.collect.triton.detail import Details, read_details
from controlplane.config.faults import allowed, join, shown
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.instance_groups import gpu_indices, instance_step, total_instances
from controlplane.domain.observation import Counter, ModelState
from controlplane.domain.rollout import ascending

UNLOADED_REASON = "unloaded"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """State of a model over all its versions, of which `versions` are ready.

    `touched`: the server has loaded it, or tried to, since it started.
    """

    state: ModelState
    reason: str = ""
    touched: bool = False
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What matters of a loaded model's configuration; instances are the total over its groups."""

    instances: int
    instances_per_step: int
    max_batch_size: int
    dynamic_batching: bool
    max_queue_delay_s: float
    gpus: tuple[int, ...]
    preferred_batch_sizes: tuple[int, ...] = ()
    other_scheduler: bool = False
    components: tuple[str, ...] = ()


@dataclass(slots=True)
class ModelSeries:
    """Counters of one model on the metrics page. `complete` False: a series that must be there is not, or no number."""

    groups: dict[str, Totals] = field(default_factory=dict)
    failures: dict[tuple[str, str], float] = field(default_factory=dict)
    pending: int | None = None
    complete: bool = True
    details: Details = field(default_factory=Details)


class _IndexRow(BaseModel):
    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


# As dictionaries: the statistics are by far the longest of these answers, and most of their models are not cared for.
class _Times(TypedDict, total=False):
    count: int
    ns: int


class _BatchStats(TypedDict, total=False):
    batch_size: Required[int]
    compute_input: _Times
    compute_infer: _Times
    compute_output: _Times


class _InferenceStats(TypedDict, total=False):
    fail: _Times


class _VersionStats(TypedDict, total=False):
    name: Required[str]
    version: Required[str]
    inference_stats: _InferenceStats
    batch_stats: list[_BatchStats]


class _Stats(TypedDict):
    model_stats: list[_VersionStats]


class _Batching(BaseModel):
    max_queue_delay_microseconds: int = 0
    preferred_batch_size: tuple[int, ...] = ()


class _EnsembleStep(BaseModel):
    model_name: str = ""


class _Ensemble(BaseModel):
    step: tuple[_EnsembleStep, ...] = ()


class _Config(BaseModel):
    max_batch_size: int = 0
    dynamic_batching: _Batching | None = None
    sequence_batching: dict[str, Any] | None = None
    ensemble_scheduling: _Ensemble | None = None
    instance_group: list[dict[str, Any]] = []


class Tensor(BaseModel):
    """An input by the metadata: the batch dimension is -1, and so is any other of free size."""

    name: str
    datatype: str
    shape: list[int]


class _Metadata(BaseModel):
    inputs: list[Tensor]


_INDEX = TypeAdapter(list[_IndexRow])
_STATS = TypeAdapter(_Stats)
_NO_TIMES = _Times(count=0, ns=0)
_RANK = (ModelState.READY, ModelState.LOADING, ModelState.UNLOADING, ModelState.UNAVAILABLE, ModelState.UNLOADED)


def read_index(body: bytes, models: Collection[str] | None = None) -> dict[str, IndexEntry]:
    """The repository index by model, all or `models`; of several versions the state nearest to serving.

    Raises MalformedPageError.
    """
    try:
        rows = _INDEX.validate_json(body)
    except ValidationError as error:
        raise MalformedPageError(f"repository index is not what it should be: {_first(error)}") from None
    entries: dict[str, IndexEntry] = {}
    ready: dict[str, set[str]] = {}
    for row in rows:
        if models is not None and row.name not in models:
            continue
        entry = _entry(row)
        if entry.state is ModelState.READY:
            ready.setdefault(row.name, set()).add(row.version)
        other = entries.get(row.name)
        if other is None or _RANK.index(entry.state) < _RANK.index(other.state):
            entries[row.name] = entry
    return entries | {name: replace(entries[name], versions=ascending(found)) for name, found in ready.items()}


def _entry(row: _IndexRow) -> IndexEntry:
    touched = bool(row.state)
    if not touched or (row.state == "UNAVAILABLE" and row.reason == UNLOADED_REASON):
        return IndexEntry(ModelState.UNLOADED, touched=touched)
    try:
        return IndexEntry(ModelState(row.state.lower()), row.reason, touched=True)
    except ValueError:
        raise MalformedPageError(f"repository index: model {row.name!r} has the unknown state {row.state!r}") from None


def read_stats(body: bytes, models: Collection[str] | None = None) -> dict[str, Executions]:
    """Executions by version and batch size of every loaded model, or of `models`. Raises MalformedPageError."""
    try:
        stats = _STATS.validate_json(body)
    except ValidationError as error:
        raise MalformedPageError(f"model statistics are not what they should be: {_first(error)}") from None
    found: dict[str, dict[tuple[str, int], Executed]] = {}
    for row in stats["model_stats"]:
        if models is not None and row["name"] not in models:
            continue
        executions = found.setdefault(row["name"], {})
        failed = _executed(row.get("inference_stats", {}).get("fail", _NO_TIMES))
        if failed.times:
            executions[row["version"], FAILED] = failed
        for batch in row.get("batch_stats", ()):
            infer = _executed(batch.get("compute_infer", _NO_TIMES))
            around = (
                _executed(batch.get("compute_input", _NO_TIMES)),
                _executed(batch.get("compute_output", _NO_TIMES)),
            )
            compute_ns = infer.compute_ns + sum(step.compute_ns for step in around)
            executions[row["version"], batch["batch_size"]] = Executed(infer.times, compute_ns)
    return dict(found)


def _executed(times: _Times) -> Executed:
    return Executed(times.get("count", 0), times.get("ns", 0))


def read_config(body: bytes) -> ModelConfig:
    """A model's configuration. Raises MalformedPageError."""
    try:
        config = _Config.model_validate_json(body)
        groups = {"instance_group": config.instance_group}
        batching = config.dynamic_batching or _Batching()
        return ModelConfig(
            instances=total_instances(groups),
            instances_per_step=instance_step(groups),
            max_batch_size=config.max_batch_size,
            dynamic_batching=config.dynamic_batching is not None,
            max_queue_delay_s=batching.max_queue_delay_microseconds / 1e6,
            gpus=gpu_indices(groups),
            preferred_batch_sizes=batching.preferred_batch_size,
            other_scheduler=config.sequence_batching is not None or config.ensemble_scheduling is not None,
            components=tuple(step.model_name for step in (config.ensemble_scheduling or _Ensemble()).step),
        )
    except ValidationError as error:
        raise MalformedPageError(f"model configuration is not what it should be: {_first(error)}") from None
    except (TypeError, ValueError, AttributeError):
        raise MalformedPageError("model configuration has an instance_group that is not what it should be") from None


def read_series(page: Page, wanted: Collection[str] | None = None) -> dict[str, ModelSeries]:
    """The counters of every model on a metrics page, or of the wanted ones.

    A group (version, and GPU where there is one) has all of its series or none; one that lacks some makes its model
    incomplete, since whoever adds up the rest gets a wrong number.
    """
    models: dict[str, ModelSeries] = {}
    parts: dict[tuple[str, str], dict[str, float]] = {}
    for family in (families.TRITON_SUCCESS, families.TRITON_REQUEST_US, families.TRITON_QUEUE_US):
        for model, group, value in _by_model(page, family, wanted):
            models.setdefault(model, ModelSeries())
            parts.setdefault((model, group), {})[family] = value
    for (model, group), values in parts.items():
        success = values.get(families.TRITON_SUCCESS, math.nan)
        request_us = values.get(families.TRITON_REQUEST_US, math.nan)
        queue_us = values.get(families.TRITON_QUEUE_US, math.nan)
        models[model].groups[group] = Totals(success, request_us / 1e6, queue_us / 1e6)
        models[model].complete &= _all_counts((success, request_us, queue_us))
    for labels, value in page.get(families.TRITON_FAILURE, ()):
        name = labels.get(families.TRITON_MODEL, "")
        if wanted is not None and name not in wanted:
            continue
        series = models.setdefault(name, ModelSeries())
        reason = labels.get(families.TRITON_REASON, families.REASON_OTHER)
        series.failures[_group(labels, families.TRITON_REASON), reason] = value
        series.complete &= _all_counts((value,))
    for model, _, value in _by_model(page, families.TRITON_PENDING, wanted):
        series = models.setdefault(model, ModelSeries())
        if _all_counts((value,)):
            series.pending = (series.pending or 0) + round(value)
        else:
            series.complete = False
    details = read_details(page, wanted)
    for name, series in models.items():
        series.details = _with_counts(details.get(name) or Details(), series)
    return models


def _with_counts(details: Details, series: ModelSeries) -> Details:
    """The same with the counters that are read for their own sake."""
    counters, groups = details.counters, series.groups.values()
    counters[Counter.REQUESTS, "success"] = sum(totals.success for totals in groups)
    counters[Counter.REQUEST_S, ""] = sum(totals.request_s for totals in groups)
    counters[Counter.QUEUE_S, ""] = sum(totals.queue_s for totals in groups)
    for (_, reason), count in series.failures.items():
        key = _outcome(reason)
        counters[key] = counters.get(key, 0.0) + count
    return details


@lru_cache(maxsize=64)
def _outcome(reason: str) -> tuple[Counter, str]:
    """The same one for every model, since so many are kept."""
    return Counter.REQUESTS, reason.lower()


def _by_model(page: Page, family: str, wanted: Collection[str] | None) -> Iterable[tuple[str, str, float]]:
    for labels, value in page.get(family, ()):
        model = labels.get(families.TRITON_MODEL, "")
        if wanted is None or model in wanted:
            yield model, _group(labels), value


def _group(labels: Labels, *without: str) -> str:
    """Names the group of a sample by its labels other than the model."""
    left_out = {families.TRITON_MODEL, *without}
    return ",".join(f"{name}={text}" for name, text in sorted(labels.items()) if name not in left_out)


def version_of(group: str) -> str:
    """The model's version of a group."""
    labels = (part.partition("=") for part in group.split(","))
    return next((text for name, _, text in labels if name == families.TRITON_VERSION), "")


def _all_counts(values: Iterable[float]) -> bool:
    return all(math.isfinite(value) and value >= 0 for value in values)


def largest_batch(executions: Executions | None) -> int:
    """The largest batch size executed since the statistics began; 0 when none was."""
    return max((size for (_, size), executed in (executions or {}).items() if executed.times), default=0)


def read_inputs(body: bytes) -> list[Tensor]:
    """Input tensors by GET /v2/models/M. Raises MalformedPageError."""
    try:
        return _Metadata.model_validate_json(body).inputs
    except ValidationError as error:
        raise MalformedPageError(f"model metadata is not what it should be: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    if found["type"] == "json_invalid":  # its input is all of the page
        return found["msg"]
    told = f"{shown(found['input'])} is not allowed; {allowed(found)}"
    return f"{join('', *found['loc'])}: {told}" if found["loc"] else told
