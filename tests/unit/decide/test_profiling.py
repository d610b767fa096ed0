"""Profiles are fitted to measured points, and points that make none are refused in words."""

from __future__ import annotations

import numpy as np
import pytest

from controlplane.decide.fitting import Weighed
from controlplane.decide.profiling import BatchPoint, Load, Origin, TokenPoint, batch_of, fit_batches, fit_tokens
from controlplane.domain.errors import ProfileError
from controlplane.domain.profiles import BatchProfile, TokenProfile

FIXED_S, PER_ITEM_S = 0.0026, 0.0137
ORIGIN = Origin("a test", 1000.0)


def batches(*points: BatchPoint, max_batch: int = 8, instances: int = 1) -> BatchProfile:
    return fit_batches(points, max_batch=max_batch, instances=instances, origin=ORIGIN)


def token_point(
    in_flight: float, *, waits_s: float = 0.0, prompt_tokens: float = 500, noise: float = 1.0
) -> TokenPoint:
    """Of a server with 8 ms and 0.2 ms for each running request, 20 ms and 0.1 ms for each token of the prompt."""
    itl_s, prefill_s = (0.008 + 0.0002 * in_flight) * noise, 0.02 + 0.0001 * prompt_tokens
    latency_s = prefill_s + 99 * itl_s
    # those that wait are in flight besides those that run
    whole = in_flight * (latency_s + waits_s) / latency_s
    return TokenPoint(whole, latency_s + waits_s, prefill_s + waits_s, itl_s, prompt_tokens, 100)


def test_noisy_points_give_the_line_and_how_far_they_lie_from_it() -> None:
    draw = np.random.default_rng(7)
    points = [
        BatchPoint(size, (FIXED_S + PER_ITEM_S * size) * draw.normal(1, 0.05), 100)
        for size in (1, 2, 3, 4, 6, 8)
        for _ in range(5)
    ]
    profile = batches(*points)
    assert profile.per_item_s == pytest.approx(PER_ITEM_S, rel=0.05)
    assert profile.service_s(8) == pytest.approx(FIXED_S + 8 * PER_ITEM_S, rel=0.05)
    assert 0.03 < profile.relative_error < 0.08
    assert (profile.points, profile.max_batch, profile.source, profile.measured_at) == (30, 8, "a test", 1000.0)


def test_a_model_without_batching_needs_two_loads_and_one_size() -> None:
    assert batches(BatchPoint(1, 0.02), BatchPoint(1, 0.022), max_batch=1).service_s(1) == pytest.approx(0.021)
    with pytest.raises(ProfileError, match="at least two loads"):
        batches(BatchPoint(1, 0.02), max_batch=1)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "no load was measured"),
        ([BatchPoint(1, 0.02), BatchPoint(1.05, 0.02)], "only batches of 1 to 1.05 items were measured"),
        ([BatchPoint(1, 0.02), BatchPoint(8, 0.01)], "batches of 1 take 0.02 s, and batches of 8 only 0.01 s"),
        ([BatchPoint(1, 0.02), BatchPoint(8, float("nan"))], "a point of 8 with nan s is none"),
        ([BatchPoint(1, 0.02), BatchPoint(2, 0.2), BatchPoint(4, 0.2), BatchPoint(8, 0.2)], "scatter by"),
    ],
)
def test_points_that_make_no_line_are_refused_in_words(points: list[BatchPoint], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        batches(*points)


def test_noise_and_sizes_that_came_seldom_are_no_contradiction() -> None:
    assert batches(BatchPoint(1, 0.02, 500), BatchPoint(2, 0.0195, 500), BatchPoint(8, 0.03, 500)).fixed_s > 0
    assert batches(BatchPoint(1, 0.02, 500), BatchPoint(8, 0.03, 500), BatchPoint(5, 0.01, 3)).fixed_s > 0


def test_sizes_of_batches_follow_from_throughput_and_compute_time() -> None:
    service_s = FIXED_S + 4 * PER_ITEM_S
    both = Load(16, 2 * 4 / service_s, compute_s=service_s)
    found = batch_of(both, 8, 2)
    assert found is not None
    assert [found.size, found.service_s] == pytest.approx([4, service_s])
    assert batch_of(Load(1, 40.0, compute_s=0.02), 8, 1) == BatchPoint(1, 0.02)  # it idles at times
    assert batch_of(Load(1, 400.0, items=4, compute_s=0.008), 8, 1) == BatchPoint(4, 0.008)


def test_without_compute_times_only_loads_of_known_batches_count() -> None:
    assert batch_of(Load(1, 50.0), 8, 1) == BatchPoint(1, 0.02)
    assert batch_of(Load(2, 400.0, items=4), 8, 2) == BatchPoint(4, 0.02)
    assert batch_of(Load(16, 80.0), 8, 1) == BatchPoint(8, 0.1)
    assert batch_of(Load(8, 70.0), 8, 1) is None


def tokens(*points: TokenPoint, alone: tuple[Weighed, ...] = ()) -> TokenProfile:
    return fit_tokens(points, origin=ORIGIN, alone=alone, kv_tokens=1000)


def test_token_lines_are_recovered_where_requests_wait_too() -> None:
    alone = (Weighed(100, 0.03, 5), Weighed(300, 0.05, 5))
    profile = tokens(token_point(1), token_point(8), token_point(32), token_point(32, waits_s=2.0), alone=alone)
    assert [profile.itl_base_s, profile.itl_per_running_s] == pytest.approx([0.008, 0.0002])
    assert [profile.prefill_base_s, profile.prefill_per_token_s] == pytest.approx([0.02, 0.0001])
    assert profile.relative_error < 1e-9
    assert (profile.kv_tokens, profile.max_num_seqs) == (1000, None)
    assert (profile.prompt_tokens, profile.output_tokens) == (500, 100)


def test_noise_in_token_times_moves_the_line_little() -> None:
    draw = np.random.default_rng(3)
    profile = tokens(*(token_point(n, noise=draw.normal(1, 0.03)) for n in (1, 2, 4, 8, 16, 32, 64) for _ in range(3)))
    assert profile.itl_s(64) == pytest.approx(0.008 + 64 * 0.0002, rel=0.05)
    assert 0.01 < profile.relative_error < 0.05


def test_prompts_of_one_length_make_prefill_proportional_to_it() -> None:
    profile = tokens(token_point(1), token_point(8))
    assert profile.prefill_base_s == 0
    assert profile.prefill_s(500) == pytest.approx(0.07)


def test_one_load_or_more_tokens_in_less_time_make_no_token_profile() -> None:
    with pytest.raises(ProfileError, match="only 1 running requests were measured: at least two loads"):
        tokens(token_point(1))
    with pytest.raises(ProfileError, match=r"32 running requests take 0\.0144 s for a token, and 64 only"):
        tokens(token_point(1), token_point(32), token_point(64, noise=0.5))
    with pytest.raises(ProfileError, match="no load was measured"):
        tokens()
