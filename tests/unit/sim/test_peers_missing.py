"""What each peer does where signals are missing, as the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controlplane.sim.peers.dynamo import BatchEngine, Dynamo
from controlplane.sim.peers.hpa import InFlightHpa, Keda, UseHpa
from controlplane.sim.peers.knative import Kpa
from controlplane.sim.peers.llm_d import SloAware, latency_strain
from controlplane.sim.peers.perf_model import LatencySlo
from controlplane.sim.peers.policy import History, Policy
from controlplane.sim.peers.ray_serve import RayServe
from controlplane.sim.peers.wva import WvaV2
from controlplane.sim.service import BatchService, LlmService
from controlplane.sim.signals import (
    LATENCY_EDGES_S,
    TTFT_EDGES_S,
    Gateway,
    Missing,
    Reading,
    ReplicaSignals,
    UnreadReplica,
    Why,
)
from tests.unit.sim.readings import counts, history, pod, pods, read, unread, unread_gateway

SERVICE = BatchService(0.005, 0.020, max_batch=8)
SLO = LatencySlo(0.1)
LLM = LlmService(0.010, 0.0002, 0.0, 0.0001, kv_tokens=100_000)

MAKE: dict[str, Callable[[], Policy]] = {
    "hpa": lambda: InFlightHpa(5),
    "hpa-use": lambda: UseHpa(0.5),
    "keda": lambda: Keda(10),
    "kpa": lambda: Kpa(8),
    "ray": lambda: RayServe(5),
    "wva": lambda: WvaV2(0.85, LLM),
    "llm-d": lambda: SloAware(0.55, latency_strain(SLO)),
    "dynamo": lambda: Dynamo(BatchEngine(SERVICE, SLO)),
}


def loaded(at_s: float) -> Reading:
    """Four pods that hold five requests each, 40 requests a second that took 75 to 100 ms."""
    done = int(40 * at_s)
    latency = counts(LATENCY_EDGES_S, b5=done)
    gateway = Gateway(queued=0, arrived=done, completed=done, retried=0, latency_counts=latency)
    busy = [pod(n, 5, busy_s=0.5 * at_s, kv_used_share=None) for n in range(4)]
    return Reading(at_s, gateway, tuple(busy))


def dark(at_s: float, why: Why) -> Reading:
    return unread_gateway(at_s, [unread(n, why=why) for n in range(4)], why)


def least(name: str, why: Why) -> int:
    """The fewest of four replicas that a policy wants within half an hour of darkness, after ten minutes of load."""
    policy, kept, wanted = MAKE[name](), History(), 4
    due_s = 0.0
    for step in range(480):
        now_s = 5.0 * step
        kept.add(loaded(now_s) if now_s < 600 else dark(now_s, why))
        if now_s >= due_s:
            due_s += policy.interval_s
            decided = policy.decide(kept)
            wanted = min(wanted, decided) if now_s >= 600 else 4
    return wanted


@pytest.mark.parametrize("why", ["nan", "absent", "refused"])
@pytest.mark.parametrize("name", ["hpa", "hpa-use", "kpa", "ray", "wva"])
def test_peers_that_read_pods_hold_what_is_there(name: str, why: Why) -> None:
    assert least(name, why) == 4


@pytest.mark.parametrize("name", ["keda", "llm-d"])
def test_peers_by_queries_take_nan_and_nothing_for_0_and_hold_at_an_error(name: str) -> None:
    assert least(name, "nan") < 4
    assert least(name, "absent") < 4
    assert least(name, "refused") == 4


def test_dynamo_predicts_0_from_nothing_and_takes_none_away_that_does_not_report() -> None:
    kept = history(*(loaded(5.0 * n) for n in range(121)))
    policy = Dynamo(BatchEngine(SERVICE, LatencySlo(0.15)))
    # one more on each of four takes 125 ms, on each of three 158 ms: neither over 150 nor under 120
    assert policy.decide(kept) == 4
    for n in range(300):
        kept.add(dark(605.0 + 5 * n, "nan"))
        assert policy.decide(kept) == 4


def test_an_hpa_counts_pods_that_were_not_scraped_as_on_target_before_it_goes_down() -> None:
    # two of four hold 1 of 10: with the others on target 5.5 of 10, so ceil(0.55 * 4)
    policy = InFlightHpa(10)
    partly = (pod(0, 1), pod(1, 1), unread(2), unread(3))
    for step in range(21):
        wanted = policy.decide(history(read(15.0 * step, partly)))
    assert wanted == 3


def test_busy_shares_are_rates_over_what_was_scraped() -> None:
    def busy(at_s: float) -> Reading:
        return read(at_s, [pod(0, busy_s=0.8 * at_s, kv_used_share=None)])

    assert UseHpa(0.4).decide(history(busy(0), busy(30), read(40, [unread(0)]))) == 2
    assert UseHpa(0.4).decide(history(busy(0), busy(30), read(40, [unread(0, why="nan")]))) == 1


def test_knative_takes_pods_that_do_not_answer_for_average_ones() -> None:
    assert Kpa(10).decide(history(read(0, [pod(0, 14), unread(1)]))) == 4


def test_ray_keeps_the_last_report_of_a_replica_and_forgets_those_that_are_gone() -> None:
    ray, kept = RayServe(2), History()
    kept.add(read(0, pods(4, 5)))
    assert ray.decide(kept) == 2
    wanted = []
    for n in range(1, 7):
        kept.add(read(5.0 * n, [pod(0, 4), unread(1)]))
        wanted.append(ray.decide(kept))
    assert wanted == [2] * 5 + [5]
    for n in range(7, 14):
        kept.add(read(5.0 * n, [pod(0, 4)]))
        assert ray.decide(kept) in {1, 2}


def test_wva_takes_pages_of_the_last_minute() -> None:
    def reading(at_s: float, *replicas: ReplicaSignals | UnreadReplica) -> Reading:
        return read(at_s, replicas)

    def served(id_: int, done: int) -> ReplicaSignals:
        first = counts(TTFT_EDGES_S, b3=done)
        tokens: dict[str, Any] = {"prompt_tokens": 1000 * done, "generated_tokens": 200 * done}
        return pod(id_, 5, kv_used_share=0.9, completed=done, ttft_counts=first, **tokens)

    begins, full = reading(0, pod(0), pod(1)), reading(60, served(0, 10), served(1, 10))
    # 180,000 tokens in use over 0.85, less 160,000: one more
    assert WvaV2(0.85, LLM).wanted(history(begins, full)) == 3
    assert WvaV2(0.85, LLM).wanted(history(begins, full, reading(120, served(0, 20), unread(1)))) == 3
    assert WvaV2(0.85, LLM).wanted(history(begins, full, reading(125, served(0, 20), unread(1)))) == 2


def test_a_rate_says_why_it_is_not_known() -> None:
    assert history(read(0)).arrivals_per_s(60) == Missing("absent")
    whys: tuple[Why, ...] = ("nan", "refused")
    for why in whys:
        assert history(read(0), read(5), unread_gateway(10, (), why)).arrivals_per_s(60) == Missing(why)
    scraped = history(read(0), read(5, arrived=20), unread_gateway(10, (), "absent"))
    assert scraped.arrivals_per_s(60) == 4


def test_a_replica_that_was_not_scraped_at_first_counts_from_its_first_page() -> None:
    kept = History()
    kept.add(read(0, [unread(0)]))
    kept.add(read(5, [pod(0, completed=50, started_s=-100.0)]))
    kept.add(read(10, [pod(0, completed=58, started_s=-100.0)]))
    assert kept.increase(10, lambda replica: replica.completed) == 8


def test_a_histogram_of_nothing_is_no_strain() -> None:
    assert latency_strain(SLO)(history(read(0))) == 0
    assert latency_strain(SLO)(history(read(0), read(5))) == 0
    assert latency_strain(SLO)(history(loaded(0), loaded(5))) == pytest.approx(0.975, abs=0.01)
    assert np.isfinite(latency_strain(SLO)(history(loaded(0), loaded(0.001))))
