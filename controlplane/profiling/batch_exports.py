"""Exports of perf_analyzer (`-f FILE`) and of Model Analyzer (metrics-model-inference.csv).

Sources: triton-inference-server/perf_analyzer docs/measurements_metrics.md and src/report_writer.cc (times in
microseconds, server times as means of requests); triton-inference-server/model_analyzer docs/metrics.md and
model_analyzer/record/types (headings, times in milliseconds). What either calls inferences are items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.decide.profiling import Load
from controlplane.domain.errors import ProfileError
from controlplane.profiling.tables import Row, number, numbered

PERF_ANALYZER = "inferences/second"
"""A column that only perf_analyzer's export has."""
MODEL_ANALYZER = "model config path"
_COMPUTE_US = ("server compute input", "server compute infer", "server compute output")
_COMPUTE_MS = tuple(f"{name} time (ms)" for name in _COMPUTE_US)
_GROUPS = re.compile(r"(\d+)[/:][A-Z]+")


@dataclass(frozen=True, slots=True)
class BatchExport:
    """The loads of one export; `max_batch` and `instances` None where it does not tell them."""

    loads: tuple[Load, ...]
    max_batch: int | None = None
    instances: int | None = None


def read_perf_analyzer(table: list[Row], name: str, items: int) -> BatchExport:
    """What perf_analyzer saw with requests of `items` items (its -b). Raises ProfileError."""
    loads = []
    for row, where in numbered(table, name):
        loads.append(
            Load(
                number(row, _load_column(row, where), where),
                number(row, PERF_ANALYZER, where),
                items,
                _compute_s(row, where, _COMPUTE_US, 1e-6),
            )
        )
    return BatchExport(tuple(loads))


def read_model_analyzer(table: list[Row], name: str, model: str, config: str) -> BatchExport:
    """What Model Analyzer saw of one configuration of one model; empty names: the only one. Raises ProfileError."""
    rows = list(numbered(table, name))
    for column, option, wanted in (("model", "--model", model), (MODEL_ANALYZER, "--variant", config)):
        found = list(dict.fromkeys(row.get(column, "") for row, _ in rows))
        if wanted not in found if wanted else len(found) > 1:
            why = f"{wanted!r} is not in it" if wanted else "it tells of several"
            raise ProfileError(f"{name}: {why}; name one with {option}: {', '.join(found)}")
        rows = [(row, where) for row, where in rows if row.get(column, "") == (wanted or found[0])]
    row, where = rows[0]
    loads = [
        Load(
            number(row, _load_column(row, where), where),
            number(row, "throughput (infer/sec)", where),
            round(number(row, "batch", where)) if "batch" in row else 1,
            _compute_s(row, where, _COMPUTE_MS, 1e-3),
        )
        for row, where in rows
    ]
    max_batch = round(number(row, "max batch size", where)) if "max batch size" in row else None
    return BatchExport(tuple(loads), max_batch, _instances(row))


def _load_column(row: Row, where: str) -> str:
    if "concurrency" not in row:
        raise ProfileError(f"{where}: no column 'Concurrency': measure by concurrency, not by request rate")
    return "concurrency"


def _compute_s(row: Row, where: str, columns: tuple[str, ...], unit_s: float) -> float | None:
    """Compute time of a request; None where not all of its parts were exported, or nothing was computed."""
    if not all(column in row for column in columns):
        return None
    return sum(number(row, column, where) for column in columns) * unit_s or None


def _instances(row: Row) -> int | None:
    """Instances of `1/GPU`, `2:GPU` or several of these joined by +."""
    counts: Iterator[int] = (int(count) for count in _GROUPS.findall(row.get("instance group", "")))
    return sum(counts) or None
