"""Simulated servers beside real ones with the same arrivals; `make bench` does the same with more of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from bench.sim_triton import CASES, MODEL, QUANTILES, Case, configure, measure, simulate
from controlplane.demo.rig import TritonRig
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

DELAYED, UNDELAYED = CASES[1], replace(CASES[1], max_queue_delay_s=0.0)
LASTS_S = 9.0
ATTEMPTS = 4  # a machine that is slow for a moment makes real servers slower than they are


def started(make: RigFactory, case: Case) -> TritonRig:
    rig = make([MODEL], repository={"gpu_serial_share": case.gpu_serial_share}, load=(MODEL,), start=False)
    configure(rig.repository, case)
    rig.start()
    return rig


def compared(rig: TritonRig, case: Case, seed: int) -> tuple[list[float], float]:
    """How far the simulator is from the server (mean batch, quantiles of latency; shares), and the server's median."""
    at_s = case.arrivals(int(LASTS_S * case.rate_per_s), seed)
    real = measure(rig, case, at_s, idle=20)
    simulated = simulate(case.service, at_s, real.inside_s, real.outside_s)
    measured = np.quantile(real.latency_s, QUANTILES)
    misses = [simulated.batch / real.batch, *(np.quantile(simulated.latency_s, QUANTILES) / measured)]
    return (np.array(misses) - 1).round(3).tolist(), float(measured[0])


def test_batches_and_latencies_are_those_of_real_servers_and_a_queue_delay_costs_far_more_than_itself(
    triton_rig: RigFactory,
) -> None:
    cases = (*CASES, UNDELAYED)
    rigs = [started(triton_rig, case) for case in cases]
    attempts, slower_s = [], []
    with ThreadPoolExecutor(len(cases)) as threads:
        for seed in range(ATTEMPTS):
            found = list(threads.map(compared, rigs, cases, [seed] * len(cases)))
            attempts.append([misses for misses, _ in found])
            slower_s.append(found[cases.index(DELAYED)][1] - found[cases.index(UNDELAYED)][1])
            # each by the attempt in which the machine disturbed it least
            closest = np.min(np.abs(attempts), axis=0)
            if np.max(closest) < 0.15 and max(slower_s) > 5 * DELAYED.max_queue_delay_s:
                return
    pytest.fail(f"by attempt and case, batch and p50, p95, p99 against the server: {attempts}; slower by {slower_s} s")
