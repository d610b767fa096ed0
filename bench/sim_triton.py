"""The simulator against a real Triton: the same arrivals, quantiles of latency beside those of the server.

What is given to the simulator: the arrivals, the model's batch line and queue delay (its configuration), and two
overheads measured before on the same server at idle, medians over one request at a time: what an execution takes above
the batch line (the server's own statistics), which is added to each batch, and what a request takes above queue delay
and execution (client, gRPC, threads), which is added to each latency. Nothing is fitted to the runs under load.

Every case runs on two servers with the same arrivals: how far these lie apart is the server's own spread. All run at
the same time; the models wait with sleeps, so that they hardly compete.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.figure import Figure
from controlplane.demo.models_repo import write_repository
from controlplane.demo.rig import TritonRig
from controlplane.sim.service import BatchService
from controlplane.sim.trace import Requests
from controlplane.sim.triton import BatchPool

MODEL = "resnet50_detector"
SERVICE = BatchService(fixed_s=0.0237, per_item_s=0.0081, max_batch=8)
"""What that model's configuration says (see controlplane/demo/models)."""
QUANTILES = (0.5, 0.95, 0.99)
BOUND = 0.1

Seconds = npt.NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """`load`: arrivals as a share of what the instances could do at the largest batch, the shared GPU allowing."""

    instances: int
    load: float
    gpu_serial_share: float = 0.6
    max_queue_delay_s: float = 0.002
    arguments: tuple[str, ...] = ()

    @property
    def service(self) -> BatchService:
        """What the simulator knows before anything is measured."""
        return replace(
            SERVICE,
            instances=self.instances,
            max_queue_delay_s=self.max_queue_delay_s,
            gpu_serial_share=self.gpu_serial_share,
            rate_limited=bool(self.arguments),
        )

    @property
    def rate_per_s(self) -> float:
        """Arrivals a second."""
        together = min(self.instances, 1 / self.gpu_serial_share if self.gpu_serial_share else self.instances)
        return self.load * together * SERVICE.max_batch / (SERVICE.fixed_s + SERVICE.per_item_s * SERVICE.max_batch)

    def arrivals(self, count: int, seed: int) -> Seconds:
        """Poisson arrivals, the first at 0."""
        gaps_s = np.random.default_rng(seed).exponential(1 / self.rate_per_s, count)
        gaps_s[0] = 0.0
        return np.cumsum(gaps_s)


@dataclass(frozen=True, slots=True)
class Measured:
    """Latencies; the mean size of batches and their mean seconds; seconds that requests were sent late.

    `inside_s`, `outside_s`: the overheads at idle, of an execution and of a request around it; 0 of simulated ones.
    """

    latency_s: Seconds
    batch: float
    execution_s: float
    late_s: Seconds
    inside_s: float = 0.0
    outside_s: float = 0.0


CASES = (Case(1, 0.5), Case(1, 0.8), Case(2, 0.5), Case(2, 0.8))


def run(*, quick: bool, seed: int, say: Say) -> Figure:
    """The four cases. Raises RigError, RigUnavailableError."""
    count = 3000 if quick else 20_000
    found = compare(CASES, count, seed, say)
    worst = max(abs(row["error"][i]) for row in found for i in range(len(QUANTILES)))
    return Figure(
        f"simulated Triton against a real one, {count} requests a case",
        f"p50, p95, p99 within {worst:.1%}",
        f"within {BOUND:.0%} at two loads and two instance counts",
        worst <= BOUND,
        {"cases": found},
        tuple(_in_words(row) for row in found),
    )


def _in_words(row: dict[str, Any]) -> str:
    quantiles = ", ".join(
        f"p{100 * q:g} {1000 * real:.1f} ms simulated {1000 * simulated:.1f} ({error:+.1%}; server {spread:+.1%})"
        for q, real, simulated, error, spread in zip(
            QUANTILES, row["real_s"], row["simulated_s"], row["error"], row["spread"], strict=True
        )
    )
    return (
        f"{row['instances']} instances, load {row['load']:g} ({row['rate_per_s']:.0f}/s): {quantiles}; mean batch"
        f" {row['real_batch']:.2f} simulated {row['simulated_batch']:.2f}, of {1000 * row['real_execution_s']:.2f} ms"
        f" simulated {1000 * row['simulated_execution_s']:.2f} ms; overhead at idle {1000 * row['inside_s']:.2f} ms a"
        f" batch, {1000 * row['outside_s']:.2f} ms a request; p99 of how late requests were sent"
        f" {1000 * row['late_s'][-1]:.1f} ms"
    )


def compare(cases: Sequence[Case], count: int, seed: int, say: Say) -> list[dict[str, Any]]:
    """Each case on two real servers and simulated."""
    arrivals = [case.arrivals(count, seed + number) for number, case in enumerate(cases)]
    say(f"{2 * len(cases)} servers, {max(at_s[-1] for at_s in arrivals):.0f} s ...")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as rigs, ThreadPoolExecutor(2 * len(cases)) as threads:
        started = [
            rigs.enter_context(_rig(case, Path(folder) / f"{number}-{copy}"))
            for number, case in enumerate(cases)
            for copy in range(2)
        ]
        jobs = [
            threads.submit(measure, rig, cases[number // 2], arrivals[number // 2])
            for number, rig in enumerate(started)
        ]
        measured = [job.result() for job in jobs]
    return [
        _row(case, at_s, measured[2 * number], measured[2 * number + 1])
        for number, (case, at_s) in enumerate(zip(cases, arrivals, strict=True))
    ]


def _rig(case: Case, home: Path) -> TritonRig:
    repository = write_repository(home / "models", home / "gpu", [MODEL], gpu_serial_share=case.gpu_serial_share)
    configure(repository, case)
    return TritonRig(repository, load=[MODEL], log_path=home / "triton.log", extra_args=case.arguments)


def configure(repository: Path, case: Case) -> None:
    """Writes the case's number of instances and queue delay into the model's configuration."""
    config = repository / MODEL / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace("count: 1", f"count: {case.instances}")
    delay = f"max_queue_delay_microseconds: {1e6 * case.max_queue_delay_s:.0f}"
    config.write_text(text.replace("max_queue_delay_microseconds: 2000", delay), encoding="utf-8")


def measure(rig: TritonRig, case: Case, at_s: Seconds, *, idle: int = 60) -> Measured:
    """A server with `idle` requests one by one, then under load."""
    before = _executions(rig)
    done = subprocess.run(
        [sys.executable, "-m", "bench.sim_triton_client"],
        input=json.dumps({"grpc": rig.grpc_url, "model": MODEL, "idle": idle, "at_s": at_s.tolist()}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    request_s, execution_s = np.median(np.array(found["idle"]), axis=0).tolist()
    inside_s = execution_s - case.service.fixed_s - case.service.per_item_s
    outside_s = request_s - execution_s - case.max_queue_delay_s
    executed, executed_s = np.array(_executions(rig)) - before
    return Measured(
        np.array(found["took_s"]),
        len(at_s) / (executed - idle - 1),
        (executed_s - (idle + 1) * execution_s) / (executed - idle - 1),
        np.array(found["late_s"]),
        inside_s,
        outside_s,
    )


def simulate(service: BatchService, at_s: Seconds, inside_s: float, outside_s: float) -> Measured:
    """The same of a simulated server with these overheads."""
    ones = np.ones(len(at_s), np.int32)
    pool = BatchPool(replace(service, fixed_s=service.fixed_s + inside_s), Requests(at_s, ones, ones), replicas=1)
    pool.advance(float(at_s[-1]) + 3600.0)
    results = pool.results()
    executed = np.sum(1 / results.batch)
    execution_s = float(np.sum(results.compute_s / results.batch) / executed)
    return Measured(results.e2e_s + outside_s, float(len(at_s) / executed), execution_s, np.zeros(len(at_s)))


def _row(case: Case, at_s: Seconds, one: Measured, other: Measured) -> dict[str, Any]:
    predicted = simulate(case.service, at_s, one.inside_s, one.outside_s)
    real, again, simulated = (np.quantile(m.latency_s, QUANTILES) for m in (one, other, predicted))
    return {
        "instances": case.instances,
        "load": case.load,
        "rate_per_s": case.rate_per_s,
        "real_s": real.tolist(),
        "simulated_s": simulated.tolist(),
        "error": (simulated / real - 1).tolist(),
        "spread": (again / real - 1).tolist(),
        "real_batch": one.batch,
        "simulated_batch": predicted.batch,
        "real_execution_s": one.execution_s,
        "simulated_execution_s": predicted.execution_s,
        "late_s": np.quantile(one.late_s, QUANTILES).tolist(),
        "inside_s": one.inside_s,
        "outside_s": one.outside_s,
    }


def _executions(rig: TritonRig) -> tuple[int, float]:
    """Executions so far and their seconds."""
    with urllib.request.urlopen(f"{rig.http_url}/v2/models/{MODEL}/stats", timeout=10) as answer:  # noqa: S310
        batches = json.load(answer)["model_stats"][0]["batch_stats"]
    parts = ("compute_input", "compute_infer", "compute_output")
    executed = sum(int(row["compute_infer"]["count"]) for row in batches)
    return executed, sum(int(row[part]["ns"]) for row in batches for part in parts) / 1e9
