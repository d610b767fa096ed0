"""Fits of service times against what was measured, and start-up times as they are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controlplane.sim.service import LLM_SERVICES, LlmService, StartUp, kv_tokens_left

LLAMA = LLM_SERVICES["llama-3.1-8b-a100-tp2"]

# SageServe data/Llama-3.1-8B-tp-2.csv (MIT), A100 80 GB: medians, milliseconds
ITL_MS_BY_BATCH = {1: 8.524, 2: 8.757, 4: 9.311, 8: 10.209, 16: 12.246, 32: 16.055}
PREFILL_MS_BY_PROMPT = {128: 24.1, 256: 22.69, 512: 28.61, 1024: 54.39, 2048: 130.53, 4096: 234.24, 8192: 542.17}


@pytest.mark.parametrize(("batch", "measured_ms"), ITL_MS_BY_BATCH.items())
def test_inter_token_latency_is_within_2_per_cent_of_what_was_measured(batch: int, measured_ms: float) -> None:
    assert 1000 * (LLAMA.itl_base_s + LLAMA.itl_per_running_s * batch) == pytest.approx(measured_ms, rel=0.02)


@pytest.mark.parametrize(("prompt", "measured_ms"), PREFILL_MS_BY_PROMPT.items())
def test_prefill_is_within_11_per_cent_of_what_was_measured_at_common_lengths(prompt: int, measured_ms: float) -> None:
    """512 tokens lie where the floor meets the line: 21 % off there, 6 ms."""
    line_s = LLAMA.prefill_base_s + LLAMA.prefill_per_token_s * prompt
    within = 0.21 if prompt == 512 else 0.11
    assert 1000 * max(LLAMA.prefill_floor_s, line_s) == pytest.approx(measured_ms, rel=within)


def test_the_kv_cache_is_what_weights_leave_of_nine_tenths_of_memory() -> None:
    assert kv_tokens_left(160e9, 16e9, 128 * 1024) == 976_562
    assert LLAMA.kv_tokens == pytest.approx(976_562, rel=1e-3)


@pytest.mark.parametrize("name", LLM_SERVICES)
def test_bigger_batches_give_more_tokens_a_second(name: str) -> None:
    service = LLM_SERVICES[name]
    per_s = [batch / (service.itl_base_s + service.itl_per_running_s * batch) for batch in range(1, 257)]
    assert per_s == sorted(per_s)
    assert service.kv_tokens > 100_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"itl_base_s": 0.0}, "an iteration of 0.0 s"),
        ({"prefill_floor_s": -1.0}, "at least -1.0 s"),
        ({"kv_tokens": 0}, "kv_tokens 0"),
        ({"max_batched_tokens": 256}, "max_batched_tokens 256 leave prompts no room beside 256 decodes"),
    ],
)
def test_a_service_under_which_requests_never_end_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(LLAMA, **wrong)  # type: ignore[arg-type]


def test_start_ups_have_the_mean_and_the_spread_that_were_asked_for() -> None:
    rng = np.random.default_rng(3)
    drawn = np.array([StartUp(240.0).draw_s(rng) for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(240.0, rel=0.005)
    assert drawn.std() == pytest.approx(0.15 * 240.0, rel=0.03)
    assert drawn.min() > 0


def test_start_ups_that_fail_never_end_and_leave_the_times_of_others_as_they_are() -> None:
    steady, failing = StartUp(90.0), StartUp(90.0, failing=0.3)
    one, other = np.random.default_rng(4), np.random.default_rng(4)
    pairs = [(steady.draw_s(one), failing.draw_s(other)) for _ in range(2000)]
    assert all(second in {first, math.inf} for first, second in pairs)
    assert sum(math.isinf(second) for _, second in pairs) == pytest.approx(600, abs=80)


def test_without_spread_every_start_up_takes_the_mean() -> None:
    assert StartUp(30.0, sd_share=0.0).draw_s(np.random.default_rng(5)) == 30.0


def test_services_have_values_that_can_be_compared() -> None:
    assert replace(LLAMA) == LLAMA
    assert isinstance(LLAMA, LlmService)
