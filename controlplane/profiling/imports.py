"""Profiles out of what benchmarks export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.decide.profiling import Origin, batch_of, fit_batches, fit_tokens
from controlplane.domain.errors import ProfileError
from controlplane.domain.profiles import BatchProfile, Profile
from controlplane.profiling import batch_exports, token_exports
from controlplane.profiling.batch_exports import BatchExport, read_model_analyzer, read_perf_analyzer
from controlplane.profiling.tables import Row, read_tables

_TOKENS = "genai-perf or AIPerf"


@dataclass(frozen=True, slots=True)
class Untold:
    """What an export does not tell: None, or empty, where it has to, or where it does not matter.

    `items` of one request and `max_batch` and `instances` of the model are perf_analyzer's; `model` and `variant` name
    one of those that Model Analyzer tells of.
    """

    items: int = 1
    max_batch: int | None = None
    instances: int | None = None
    model: str = ""
    variant: str = ""


def import_profile(texts: Mapping[str, str], untold: Untold, measured_at: float) -> Profile:
    """The profile of exports of one tool, by their names. Raises ProfileError."""
    exports = {name: read_tables(text) for name, text in texts.items()}
    tools = {name: _tool(tables, name) for name, tables in exports.items()}
    if len(set(tools.values())) > 1:
        told = "; ".join(f"{name} is of {tool}" for name, tool in tools.items())
        raise ProfileError(f"exports of several tools make no profile together: {told}")
    tool = next(iter(tools.values()))
    origin = Origin(f"{tool}: {', '.join(exports)}", measured_at)
    if tool == _TOKENS:
        if untold != Untold():
            raise ProfileError(f"{tool}: --max-batch, --instances, --items, --model and --variant are of other tools")
        return fit_tokens([token_exports.read_tokens(tables, name) for name, tables in exports.items()], origin=origin)
    batches = [
        read_perf_analyzer(tables[0], name, untold.items)
        if tool == "perf_analyzer"
        else read_model_analyzer(tables[0], name, untold.model, untold.variant)
        for name, tables in exports.items()
    ]
    return _batches(batches, untold, origin)


def _batches(exports: list[BatchExport], untold: Untold, origin: Origin) -> BatchProfile:
    max_batch = untold.max_batch or next((export.max_batch for export in exports if export.max_batch), None)
    if max_batch is None:
        raise ProfileError(f"{origin.source}: tells no largest batch: give --max-batch, the model's max_batch_size")
    instances = untold.instances or next((export.instances for export in exports if export.instances), None) or 1
    made = [batch_of(load, max_batch, instances) for export in exports for load in export.loads]
    points = [point for point in made if point is not None]
    return fit_batches(points, max_batch=max_batch, instances=instances, origin=origin)


def _tool(tables: list[list[Row]], name: str) -> str:
    columns = {column for row in tables[0][:1] for column in row} if tables else set()
    for column, tool in (
        (batch_exports.PERF_ANALYZER, "perf_analyzer"),
        (batch_exports.MODEL_ANALYZER, "Model Analyzer"),
        (token_exports.METRIC, _TOKENS),
    ):
        if column in columns:
            return tool
    known = "a CSV export of perf_analyzer, Model Analyzer, genai-perf or AIPerf"
    raise ProfileError(f"{name}: is not {known}, or has no rows")
