"""Closed loops beside measurements that NVIDIA published: ResNet-50 on four GPUs and Wide & Deep on eight setups.

ResNet-50: one instance, `max_batch_size` 128, preferred sizes 64 and 128, 1 us of queue delay, 16 to 256 concurrent
requests. Wide & Deep: two instances on one GPU, batches of up to 64 requests (of 2048 samples), 8 to 256 requests.

The time of a batch is a line through every other row of a setup (compute time over throughput times compute time by
instance, which is the size of batches when instances are always busy); the rows between are predicted. Given are the
concurrency and the mean time that a request spends outside queue and compute: client and network, exponential here,
since its distribution is not known. Errors, least / a tenth / median / nine tenths / most:

                  throughput                    mean latency                  queue and compute
  ResNet-50       -31 / -19 / -4 / +2 / +7 %    -7 / -2 / +5 / +23 / +46 %    -9 / -3 / +6 / +34 / +64 %
  Wide & Deep     -20 / -12 / -4 / +9 / +20 %   -16 / -6 / +9 / +19 / +27 %   -22 / -8 / +11 / +25 / +49 %

Queue (median +43, +22 %) and compute (-16, +2 %) apart are worse. ResNet's worst rows are those of few requests, whose
batches took less than the line says.

The lines fitted to ResNet's offline tables do not do: those were measured with whole batches sent by one client, whose
way to the server they contain, and promise about half of the throughput that was measured online.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from controlplane.sim.service import BatchService
from controlplane.sim.triton import BatchPool

_FILE = Path(__file__).parent / "published" / "triton_online.csv"
RESNET, WIDE = "resnet50_v1.5", "wide_and_deep"
_SERVED = {
    RESNET: BatchService(1.0, 1.0, 128, 1e-6, (64, 128)),
    WIDE: BatchService(1.0, 1.0, 64, 1e-6, instances=2),
}
_OFFLINE_S = {
    "A40 ONNX": (0.00179, 0.000439),
    "A100 ONNX": (0.00159, 0.000293),
    "V100 ONNX": (0.00256, 0.000412),
    "T4 ONNX": (0.00237, 0.00081),
}
_CYCLES, _WARM_UP = 60, 15

Errors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    setup: str
    concurrency: int
    per_s: float
    queue_s: float
    compute_s: float
    average_s: float


@cache
def setups(model: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] == model:
                compute_ms = sum(float(row[f"compute_{part}_ms"]) for part in ("input", "infer", "output"))
                found.setdefault(row["setup"], []).append(
                    Row(
                        row["setup"],
                        int(row["concurrency"]),
                        float(row["requests_per_s"]),
                        float(row["queue_ms"]) / 1e3,
                        compute_ms / 1e3,
                        float(row["average_ms"]) / 1e3,
                    )
                )
    return found


def line(rows: Iterable[Row], instances: int) -> tuple[float, float]:
    """Seconds of a batch, fixed and by request, with the least relative squares."""
    terms = np.array([(1 / row.compute_s, row.per_s / instances) for row in rows])
    fixed_s, per_item_s = np.linalg.lstsq(terms, np.ones(len(terms)))[0]
    return float(fixed_s), float(per_item_s)


def error(row: Row, service: BatchService) -> tuple[float, float, float]:
    """Relative errors of throughput, mean latency, and queue and compute together, without the warm-up."""
    outside_s = max(row.average_s - row.queue_s - row.compute_s, 0.0)
    count, first = _CYCLES * row.concurrency, _WARM_UP * row.concurrency
    client_s = np.random.default_rng(1).exponential(outside_s, count)
    pool = BatchPool.closed(service, clients=row.concurrency, requests=count, client_s=client_s)
    step_s = row.concurrency / row.per_s / 4
    began = ended = pool.signals(0.0)
    while ended.completed < count - row.concurrency:
        ended = pool.signals(ended.at_s + step_s)
        began = ended if began.completed < first else began
    results, steady = pool.results(), slice(first, count - row.concurrency)
    per_s = (ended.completed - began.completed) / (ended.at_s - began.at_s)
    inside_s = float(np.nanmean(results.queue_s[steady]) + np.nanmean(results.compute_s[steady]))
    return (
        per_s / row.per_s - 1,
        row.concurrency / per_s / row.average_s - 1,
        inside_s / (row.queue_s + row.compute_s) - 1,
    )


def errors(model: str, lines: dict[str, tuple[float, float]]) -> Errors:
    """By quantity (see `error`), over every second row of the setups."""
    served = _SERVED[model]
    found = []
    for setup, (fixed_s, per_item_s) in lines.items():
        service = BatchService(
            fixed_s, per_item_s, served.max_batch, 1e-6, served.preferred_sizes, instances=served.instances
        )
        found += [error(row, service) for row in setups(model)[setup][1::2]]
    return np.array(found).T


@pytest.mark.parametrize(("model", "rows"), [(RESNET, 32), (WIDE, 128)])
def test_published_throughput_and_latency_are_predicted_from_the_rows_between(model: str, rows: int) -> None:
    lines = {setup: line(known[::2], _SERVED[model].instances) for setup, known in setups(model).items()}
    throughput, latency, inside = np.abs(errors(model, lines))
    assert len(throughput) == rows
    assert np.median(throughput) < 0.08
    assert np.quantile(throughput, 0.9) < 0.2
    assert np.max(throughput) < 0.35
    assert np.median(latency) < 0.12
    assert np.median(inside) < 0.15


def test_lines_of_the_offline_tables_promise_half_of_the_throughput_measured_online() -> None:
    throughput = errors(RESNET, _OFFLINE_S)[0]
    assert np.all((throughput > -0.6) & (throughput < -0.25))
