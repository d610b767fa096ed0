"""Mapping files: how they are written, and from there to the domain's mapping, or every fault at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from controlplane.config.faults import from_pydantic, join
from controlplane.config.text_file import UnreadableError, read_text_file
from controlplane.config.units import Names, Pattern
from controlplane.config.yaml_source import read_yaml
from controlplane.domain.errors import ConfigurationError, Fault
from controlplane.domain.fleet import ServerKind
from controlplane.domain.mapping import MAPPED_INDICATORS, Outcomes, PageMapping, Series

Metric = Annotated[str, Field(pattern=r"^[A-Za-z_:][A-Za-z0-9_:]*$")]
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_SIGNALS = ("gauges", "requests", "histograms")


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeriesItem(_Block):
    """Where a signal is found; a metric's name alone stands for `{metric: NAME}`."""

    metric: Annotated[list[Metric], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = (
        Field(min_length=1, description="Name of the metric, or names to try in order, the newest first.")
    )
    where: dict[str, Pattern] = Field(
        default={}, description="Label and regular expression that it matches as a whole; an absent label is empty."
    )
    unit: Literal["s", "ms", "us"] = Field(default="s", description="Unit of a time.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"metric": value} if isinstance(value, str | list) else value


SeriesList = Annotated[
    list[SeriesItem], BeforeValidator(lambda value: value if isinstance(value, list) or value is None else [value])
]


class GaugesBlock(_Block):
    """What holds now."""

    pending: SeriesItem | None = Field(default=None, description="Requests waiting.")
    running: SeriesItem | None = Field(default=None, description="Requests executing.")
    kv_cache_usage: SeriesItem | None = Field(default=None, description="Used share of the KV cache, 0 to 1.")


class RequestsBlock(_Block):
    """Counters of requests by how they ended; each is a series or a list of series that are added up."""

    success: SeriesList = Field(default=[], description="Answered.")
    failed: SeriesList = Field(default=[], description="Failed by the server's fault: bad events of availability.")
    rejected: SeriesList = Field(default=[], description="Turned away, such as for overload.")
    canceled: SeriesList = Field(default=[], description="Given up by the client.")


class TimesBlock(_Block):
    """Ever growing sums of the time that requests took."""

    request: SeriesItem | None = Field(default=None, description="From arrival to answer.")
    queue: SeriesItem | None = Field(default=None, description="Waiting.")


class HistogramsBlock(_Block):
    """Histograms, by names without `_bucket`."""

    ttft: SeriesItem | None = Field(default=None, description="Time to the first token.")
    inter_token_latency: SeriesItem | None = Field(default=None, description="Time between tokens.")
    e2e: SeriesItem | None = Field(default=None, description="Time to the whole answer.")
    queue_time: SeriesItem | None = Field(default=None, description="Time spent waiting.")


class MappingFile(_Block):
    """A mapping file: which series of a metrics page is which signal."""

    sources: Names = Field(min_length=1, description="Where the names were found: source file, page, recording.")
    note: str = Field(default="", description="What users of the signals should know.")
    page: str = Field(
        default="/metrics",
        pattern=r"^(/[^\s?#]*)?$",
        description="Path of the page below `http`; empty: it has a port of its own, so that `metrics` is required.",
    )
    marks: list[Metric] = Field(
        default=[], description="Metrics that tell such a page before any request was counted, besides the signals."
    )
    model_label: str = Field(
        default="", description="Label that holds the model's served_name; empty: the server has one model."
    )
    gauges: GaugesBlock = Field(default=GaugesBlock(), description="What holds now.")
    requests: RequestsBlock = Field(default=RequestsBlock(), description="Counters of requests by how they ended.")
    times: TimesBlock = Field(default=TimesBlock(), description="Sums of the time that requests took.")
    histograms: HistogramsBlock = Field(default=HistogramsBlock(), description="Histograms of times.")


@cache
def shipped(kind: ServerKind) -> PageMapping | None:
    """The mapping that comes with the package for a kind of server; None: it has a reader of its own, or none."""
    file = files("controlplane.config") / "mappings" / f"{kind.value}.yaml"
    if not file.is_file():
        return None
    mapping, faults = parse_mapping(file.read_text(encoding="utf-8"), kind.value, "")
    if mapping is None or faults:
        raise ConfigurationError(f"the mapping of {kind.value}", tuple(faults))
    return mapping


def load_mapping(path: str, where: str) -> tuple[PageMapping | None, list[Fault]]:
    """The mapping in the file at `path`, or its faults, all of them; `where` is the key that names the file."""
    try:
        text = read_text_file(path)
    except UnreadableError:
        return None, [Fault(where, repr(path), "a readable mapping file")]
    return parse_mapping(text, path, where)


def parse_mapping(text: str, name: str, where: str) -> tuple[PageMapping | None, list[Fault]]:
    """As load_mapping, from YAML text."""
    tree, faults = read_yaml(text)
    faults = [Fault(f"{where}: {fault.path}" if where else fault.path, fault.value, fault.allowed) for fault in faults]
    if not tree:
        return None, faults
    try:
        file = MappingFile.model_validate(tree)
    except ValidationError as error:
        return None, [*faults, *from_pydantic(MappingFile, error, where)]
    faults += _check(file, where)
    return None if faults else _mapping(file, name), faults


def _check(file: MappingFile, where: str) -> Iterator[Fault]:
    if not any(getattr(file, block).model_fields_set for block in _SIGNALS):
        yield Fault(where or "the file", "no signal", f"at least one of: {', '.join(_SIGNALS)}")
    for indicator in MAPPED_INDICATORS:
        item: SeriesItem | None = getattr(file.histograms, indicator.value)
        for i, metric in enumerate(item.metric if item else ()):
            if metric.endswith("_bucket"):
                path = join(where, "histograms", indicator.value, "metric", i)
                yield Fault(path, repr(metric), "the name of the histogram, without _bucket")


def _mapping(file: MappingFile, name: str) -> PageMapping:
    gauges, requests, times = file.gauges, file.requests, file.times
    found = ((indicator, _series(getattr(file.histograms, indicator.value))) for indicator in MAPPED_INDICATORS)
    return PageMapping(
        name=name,
        sources=tuple(file.sources),
        note=file.note,
        page=file.page,
        marks=tuple(file.marks),
        model_label=file.model_label,
        pending=_series(gauges.pending),
        running=_series(gauges.running),
        kv_cache_usage=_series(gauges.kv_cache_usage),
        outcomes=Outcomes(
            *(
                tuple(series for item in items if (series := _series(item)))
                for items in (requests.success, requests.failed, requests.rejected, requests.canceled)
            )
        ),
        request_time=_series(times.request),
        queue_time=_series(times.queue),
        histograms=tuple((indicator, series) for indicator, series in found if series),
    )


def _series(item: SeriesItem | None) -> Series | None:
    return None if item is None else Series(tuple(item.metric), tuple(item.where.items()), _UNITS[item.unit])
