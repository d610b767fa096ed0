from __future__ import annotations

import math
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import pytest

from controlplane.domain.errors import NotFoundError
from controlplane.sim.peers.dynamo import Dynamo, Kalman, LlmEngine
from controlplane.sim.peers.knative import Kpa
from controlplane.sim.peers.llm_d import SloAware, token_strain
from controlplane.sim.peers.perf_model import PerfModel, Slo
from controlplane.sim.peers.policy import KEPT_S, Closing, History, quantile
from controlplane.sim.peers.ray_serve import RayServe
from controlplane.sim.peers.registry import POLICIES, entry
from controlplane.sim.peers.setting import LlmSetting
from controlplane.sim.peers.wva import WvaV2
from controlplane.sim.service import LLM_SERVICES, LlmService
from controlplane.sim.signals import ITL_EDGES_S, TTFT_EDGES_S, Reading, ReplicaSignals
from tests.unit.sim.readings import counts, history, pod, pods, read

# prefill of 1000 tokens 0.1 s; decode 10 ms + 0.2 ms by running request
SERVICE = LlmService(0.010, 0.0002, 0.0, 0.0001, kv_tokens=100_000, max_num_seqs=200)
SLO = Slo(1.0, 0.05)


def knative(target: float, *readings: Reading) -> list[int]:
    """Decisions of a KPA at each reading, after a first one that ends its panic at start."""
    kpa, kept, decided = Kpa(target), History(), []
    for signals in readings:
        kept.add(signals)
        decided.append(kpa.decide(kept))
    return decided


def test_knative_divides_the_concurrency_of_a_minute_by_70_percent_of_the_target() -> None:
    # one pod, so no panic at the start: mean of 12 and 16 is 14, 14 / 7 = 2: the panic threshold of 2 is reached
    assert knative(10, read(0, pods(6)), read(5, pods(8))) == [1, 1]
    assert knative(10, read(0, pods(8)), read(5, pods(12))) == [2, 2]


def test_knative_counts_what_the_gateway_holds() -> None:
    assert knative(10, read(0, pods(3), queued=32)) == [5]


def test_knative_halves_at_most_and_only_after_its_panic() -> None:
    readings = [read(5.0 * n, pods(*[0] * 8)) for n in range(15)]
    decided = knative(10, *readings)
    # several pods at the start are a panic: nothing goes for more than 60 s
    assert decided[:13] == [8] * 13
    assert decided[13] == 4


def test_knative_keeps_what_a_panic_wanted_most() -> None:
    surge = [read(0, pods(1)), *(read(5.0 * n, pods(140)) for n in (1, 2)), read(15, pods(0)), read(75, pods(0))]
    decided = knative(10, *surge)
    # panic window at 10 s: the mean of 140 and 140 over 7 is 20; kept when it is over, until 60 s passed
    assert decided[2] == 20
    assert decided[3] == 20
    assert decided[4] == 20


def test_ray_serve_goes_up_once_it_wanted_to_for_30_seconds() -> None:
    ray, kept = RayServe(2), History()
    decided = []
    for n in range(7):
        kept.add(read(5.0 * n, pods(4, 5)))
        decided.append(ray.decide(kept))
    # ceil(9 / 2) = 5, at the seventh decision in a row (six delays of 5 s)
    assert decided == [2] * 6 + [5]


def test_ray_serve_forgets_its_count_when_the_direction_changes() -> None:
    ray, kept = RayServe(2), History()
    for n in range(6):
        kept.add(read(5.0 * n, pods(4, 5)))
        assert ray.decide(kept) == 2
    kept.add(read(300, pods(1, 1)))
    assert ray.decide(kept) == 2
    kept.add(read(400, pods(4, 5)))
    assert ray.decide(kept) == 2


def test_ray_serve_goes_down_after_ten_minutes() -> None:
    ray, kept = RayServe(2), History()
    decided = []
    for n in range(121):
        kept.add(read(5.0 * n, pods(1, 1)))
        decided.append(ray.decide(kept))
    assert decided == [2] * 120 + [1]


def test_ray_serve_without_a_running_replica_wants_one_for_what_waits() -> None:
    assert RayServe(2).decide(history(read(0, queued=3))) == 1
    assert RayServe(2).decide(history(read(0))) == 0


def tokens(id_: int, *, used: float, waiting: int = 0, done: int = 10) -> ReplicaSignals:
    """A pod whose requests had 1000 prompt and 200 output tokens."""
    first = counts(TTFT_EDGES_S, b3=done)
    sums: dict[str, Any] = {"prompt_tokens": 1000 * done, "generated_tokens": 200 * done}
    return pod(id_, 5, waiting=waiting, kv_used_share=used, completed=done, ttft_counts=first, **sums)


def wva(knob: float, *replicas: ReplicaSignals, queued: int = 0) -> int:
    before = [pod(replica.id) for replica in replicas]
    return WvaV2(knob, SERVICE).wanted(history(read(0, before), read(60, replicas, queued=queued)))


def test_wva_adds_what_demand_over_its_threshold_requires() -> None:
    # k1 = 80,000; derived k2 = min(8192 * 200 / 1200, 200) * (1000 + 100) = 220,000; capacity 80,000.
    # demand 2 * 90,000: required = 180,000 / 0.85 - 160,000 = 51,765 -> one more
    assert wva(0.85, tokens(0, used=0.9), tokens(1, used=0.9)) == 3
    # what waits at the gateway counts with its output: 200 * 1200 = 240,000 more -> ceil(4.176) more
    assert wva(0.85, tokens(0, used=0.9), tokens(1, used=0.9), queued=200) == 7


def test_wva_credits_what_starts_and_takes_away_whole_spare_replicas() -> None:
    full = (tokens(0, used=0.9), tokens(1, used=0.9))
    assert wva(0.85, *full, pod(2, phase="starting")) == 3
    # spare = 4 * 80,000 - 4 * 20,000 / 0.7 = 205,714 -> floor(2.57) fewer
    assert wva(0.85, *(tokens(n, used=0.2) for n in range(4))) == 2
    # between the thresholds nothing: 0.8 of 80,000 in use over 0.85 fits, over 0.70 leaves no whole replica
    assert wva(0.85, tokens(0, used=0.6), tokens(1, used=0.6)) == 2


def test_wva_learns_capacity_from_replicas_with_a_queue() -> None:
    # both were full with 40,000 tokens in use: demand 2 * (40,000 + 10 * 1000), capacity 40,000
    # required = 100,000 / 0.85 - 80,000 = 37,647 -> one more
    assert wva(0.85, tokens(0, used=0.4, waiting=10), tokens(1, used=0.4, waiting=10)) == 3


def test_wva_is_carried_out_by_an_hpa_that_waits_before_it_goes_down() -> None:
    replicas = [tokens(n, used=0.2) for n in range(4)]
    kept = history(read(0, [pod(n) for n in range(4)]), read(60, replicas))
    policy = WvaV2(0.85, SERVICE)
    assert policy.wanted(kept) == 2
    assert policy.decide(kept) == 4


def test_wva_holds_where_it_knows_no_tokens() -> None:
    assert WvaV2(0.85, SERVICE).decide(history(read(0, pods(9, 9)))) == 2


@pytest.mark.parametrize(
    ("strain", "here", "wanted"),
    [
        (0.55, 1.0, 10),
        (1.10, 1.0, 20),  # 10 + ceil(10 * (2 - 1))
        (0.56, 1.0, 11),
        (1.10, 0.5, 10),  # half of them are still starting: they are credited
        (0.50, 1.0, 10),
        (0.20, 1.0, 5),  # 10 - floor(10 * 0.5)
        (0.0, 1.0, 0),
    ],
)
def test_slo_aware_scales_by_latency_over_its_objective(strain: float, here: float, wanted: int) -> None:
    assert SloAware(0.55, token_strain(SLO)).wanted(strain, here, 10) == wanted


def test_slo_aware_reads_the_worse_of_both_latencies_and_caps_it() -> None:
    # TTFT: all between 2.5 and 5 s, P90 4.75 s, of which 2 count; then s is 0, 1, 4/3, 2 and wants 0, 8, 10, 15;
    # upwards the least of 30 s holds, and 4 more in a minute at most
    policy, kept = SloAware(0.55, token_strain(SLO)), History()
    decided = []
    for n in range(4):
        slow = [pod(m, ttft_counts=counts(TTFT_EDGES_S, b13=100 * n)) for m in range(4)]
        kept.add(read(15.0 * n, slow))
        decided.append(policy.decide(kept))
    assert decided == [4, 4, 8, 4]


def test_slo_aware_takes_the_mean_gap_of_tokens_of_each_replica() -> None:
    def reading(at_s: float, gaps: int) -> Reading:
        each = {"itl_counts": counts(ITL_EDGES_S, b2=gaps), "itl_s_sum": 0.05 * gaps}
        return read(at_s, [pod(n, **each) for n in range(2)])

    policy, kept = SloAware(0.5, token_strain(SLO)), History()
    decided = []
    for n in range(1, 5):
        kept.add(reading(15.0 * n, 100 * n))
        decided.append(policy.decide(kept))
    # nothing at first, then 1: s is 0, 1/2, 2/3, 1, and wants 0, 2, 3, 4; upwards the least of 30 s holds
    assert decided == [2, 2, 2, 3]


def test_kalman_follows_a_line_and_skips_zeros_before_load() -> None:
    line = Kalman()
    line.add(None)
    line.add(0)
    for value in range(10, 60):
        line.add(float(value))
    assert line.next() == pytest.approx(60, abs=0.5)
    few = Kalman()
    for value in (10, 20, 30, 40):
        few.add(value)
    assert few.next() == 40


def test_kalman_predicts_nothing_below_zero() -> None:
    falling = Kalman()
    for value in range(100, 0, -9):
        falling.add(float(value))
    assert falling.next() == 0


def dynamo_readings(*running: int, waiting: int = 0, arrived: int = 0, starting: int = 0) -> History:
    done: dict[str, Any] = {"prompt_tokens": 10_000, "generated_tokens": 2000, "completed": 10}
    first = counts(TTFT_EDGES_S, b3=10)
    ready = [pod(n, held, waiting=waiting, ttft_counts=first, **done) for n, held in enumerate(running)]
    late = [pod(100 + n, phase="starting") for n in range(starting)]
    return history(read(0, pods(*running)), read(180, (*ready, *late), arrived=arrived))


def test_dynamo_takes_predicted_throughput_as_its_lower_bound() -> None:
    # one replica serves (1 - 10/50) / (0.1 + 0.0002 * 200) = 5.714/s; 30/s need ceil(5.25)
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(20, 20, arrived=30 * 180)) == 6


def test_dynamo_adds_one_only_when_every_replica_is_over_its_sla() -> None:
    # itl = 10 ms + (0.2 ms + 0.1 s / 200) * running: 58 run at 50.6 ms
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(58, 58)) == 3
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(58, 50)) == 2
    # ten prompts before one's own take 1.1 s
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(50, 50, waiting=10)) == 3
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(58, 58, starting=1)) == 3


def test_dynamo_takes_one_away_when_the_others_would_stay_under_four_fifths() -> None:
    # three at 28: with two 42 each would run at 39.4 ms, under 40; at 29 it would be 40.45 ms
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(28, 28, 28)) == 2
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(28, 28, 29)) == 3
    assert Dynamo(LlmEngine(SERVICE, SLO)).decide(dynamo_readings(0)) == 1


def test_dynamo_with_half_of_the_objective_wants_more() -> None:
    # (1 - 10/25) / 0.14 = 4.286/s
    assert Dynamo(LlmEngine(SERVICE, SLO.times(0.5))).decide(dynamo_readings(20, 20, arrived=30 * 180)) == 7


def test_the_model_gives_capacity_and_latency_that_agree() -> None:
    model = PerfModel(SERVICE, 1000, 200)
    rate = model.requests_per_s(SLO)
    assert rate == pytest.approx(0.8 / 0.14)
    assert model.itl_s(rate) == pytest.approx(0.05)
    assert model.itl_at_s(model.running(SLO)) == pytest.approx(0.05)
    assert model.itl_s(1 / 0.14) == math.inf


def test_the_model_is_bounded_by_memory_and_the_time_to_the_first_token() -> None:
    assert PerfModel(SERVICE, 1000, 200).requests_per_s(Slo(0.1, 0.05)) == 0
    small = LlmService(0.010, 0.0002, 0.0, 0.0001, kv_tokens=11_000)
    model = PerfModel(small, 1000, 200)
    # ten fit: itl = 10 ms + 0.7 ms * 10 = 17 ms, so that 10 / (200 * 0.017) end every second
    assert model.requests_per_s(SLO) == pytest.approx(10 / 3.4)


def test_a_quantile_lies_inside_its_bucket() -> None:
    edges = (1.0, 2.0, 4.0)
    assert quantile(np.array([0, 10, 10, 0]), edges, 0.5) == 2.0
    assert quantile(np.array([0, 10, 10, 0]), edges, 0.75) == 3.0
    assert quantile(np.array([10, 0, 0, 0]), edges, 0.5) == 0.5
    assert quantile(np.array([0, 0, 0, 10]), edges, 0.5) == 4.0
    assert quantile(np.array([0, 0, 0, 0]), edges, 0.5) is None
    assert quantile(None, edges, 0.5) is None


def test_history_sums_rises_over_replicas_that_come_and_go() -> None:
    kept = history(
        read(0, [pod(0, completed=5), pod(1, completed=7)]),
        read(5, [pod(0, completed=9), pod(2, completed=2)]),
        read(10, [pod(0, completed=10), pod(2, completed=4)]),
    )
    assert kept.increase(10, lambda replica: replica.completed) == 4 + 2 + 1 + 2
    assert kept.increase(5, lambda replica: replica.completed) == 3


def test_history_forgets_what_nobody_looks_at() -> None:
    kept = history(*(read(5.0 * n) for n in range(500)))
    assert len(kept.within(math.inf)) == KEPT_S / 5 + 1


def test_every_policy_is_made_by_name_and_decides_on_an_empty_pool() -> None:
    setting = LlmSetting(SLO, PerfModel(LLM_SERVICES["llama-3.1-8b-a100-tp2"], 1000, 200))
    for name in POLICIES:
        made = entry(name)
        assert 0 < made.lowest * made.at_capacity(setting) < made.preset(setting)
        policy = made.make(made.preset(setting), setting)
        with closing(policy) if isinstance(policy, Closing) else nullcontext():
            assert policy.decide(history(read(300))) in {0, 1}, name


def test_a_policy_nobody_knows_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(NotFoundError, match="no policy named 'best'; known: ours, hpa, hpa-use, keda"):
        entry("best")
