"""Tokens, caches, sleep and adapters of a vLLM: off recorded pages, and off pages of other versions made of them."""

from __future__ import annotations

import re

import pytest

from controlplane.collect.exposition import parse
from controlplane.collect.servers import scraped
from controlplane.collect.vllm.server import ASLEEP, VllmServer, read_served
from controlplane.collect.vllm.signals import VLLM
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import (
    NOT_EXPORTED,
    Adapters,
    Counter,
    ModelReading,
    ModelState,
    SleepState,
    TokenCounts,
)
from controlplane.domain.signal import Known, Missing
from tests.unit.collect.pages import absorb, recorded

EARLIER, LATER = recorded("vllm-0.32.0-after-40-requests.txt"), recorded("vllm-0.32.0-under-load.txt")
LORA = 'vllm:lora_requests_info{{max_lora="2",running_lora_adapters="{}",waiting_lora_adapters="{}"}} {}\n'


def server() -> VllmServer:
    spec = ServerSpec("v", ServerKind.VLLM, "", "")
    models = [ModelSpec("llm", "tiny", ("v",), Mode.ACT)]
    return VllmServer(spec, models, scraped(spec, models), max_age_s=15, keep_s=900)


def model(vllm: VllmServer, now: float) -> ModelReading:
    signal = vllm.reading(now).models["llm"]
    assert isinstance(signal, Known)
    return signal.value


def reading(page: str) -> ModelReading:
    vllm = server()
    absorb(vllm, 5, page)
    return model(vllm, 5)


def between(before: str, after: str) -> TokenCounts | None:
    vllm = server()
    absorb(vllm, 5, before)
    absorb(vllm, 25, after)
    (interval,) = model(vllm, 25).intervals
    return interval.tokens


def changed(page: str, sample: str, value: float, *, times: int = 1) -> str:
    """The page with another value of a sample."""
    text, count = re.subn(rf"^({re.escape(sample)}) \S+$", rf"\1 {value}", page, flags=re.MULTILINE)
    assert count == times, sample
    return text


def without(page: str, *families: str) -> str:
    return "".join(f"{line}\n" for line in page.splitlines() if not line.startswith(families))


def second_engine(page: str) -> str:
    """The page with the same engine once more, as data parallelism has it."""
    lines = [line for line in page.splitlines() if line.startswith("vllm:") and 'engine="0"' in line]
    return page + "".join(line.replace('engine="0"', 'engine="1"') + "\n" for line in lines)


def test_tokens_between_the_recorded_pages_are_their_differences() -> None:
    assert between(EARLIER, LATER) == TokenCounts(
        prompt=952 - 800,
        generation=5989 - 2565,
        preemptions=0,
        prefix_queries=952 - 800,
        prefix_hits=0,
        ended=0,
        ended_prompt=0,
        ended_generation=0,
        itl_count=5922 - 2521,
        itl_s=39.858171194991655 - 13.989446634002661,
    )


def test_what_stands_on_the_recorded_page_is_republished() -> None:
    counters = reading(LATER).counters
    assert isinstance(counters, Known)
    assert counters.value == {
        (Counter.REQUESTS, "stop"): 8,
        (Counter.REQUESTS, "length"): 36,
        (Counter.REQUESTS, "abort"): 0,
        (Counter.REQUESTS, "error"): 0,
        (Counter.REQUESTS, "repetition"): 0,
        (Counter.REQUESTS, "refused"): 0,
        (Counter.REQUEST_S, ""): 15.110801458358765,
        (Counter.QUEUE_S, ""): 0.0016873560005024046,
        (Counter.PROMPT_TOKENS, ""): 952,
        (Counter.GENERATION_TOKENS, ""): 5989,
        (Counter.PREEMPTIONS, ""): 0,
        (Counter.PREFIX_QUERIES, ""): 952,
        (Counter.PREFIX_HITS, ""): 0,
        (Counter.ENDED, ""): 44,
        (Counter.ENDED_PROMPT, ""): 800,
        (Counter.ENDED_GENERATION, ""): 2565,
        (Counter.ITL_COUNT, ""): 5922,
        (Counter.ITL_S, ""): 39.858171194991655,
    }


def test_gauges_of_the_recorded_page_are_known() -> None:
    seen = reading(LATER)
    assert seen.pending_by_reason == Known({"capacity": 0, "deferred": 0}, 5)
    assert seen.refused == Known(0, 5)
    assert seen.sleep == Known(SleepState.AWAKE, 5)
    assert seen.kv_cache_tokens == Known(8192 * 128, 5)
    assert seen.adapters == Missing("not exported: without --enable-lora, and before the first request")


def test_engines_add_up_and_the_fullest_cache_counts() -> None:
    before, after = second_engine(EARLIER), second_engine(LATER)
    after = changed(after, 'vllm:kv_cache_usage_perc{engine="1",model_name="tiny"}', 0.75)
    tokens, seen = between(before, after), reading(after)
    assert tokens is not None
    assert (tokens.prompt, tokens.generation) == (2 * (952 - 800), 2 * (5989 - 2565))
    assert (seen.running, seen.kv_cache_usage) == (Known(46, 5), Known(0.75, 5))
    assert seen.kv_cache_tokens == Known(2 * 8192 * 128, 5)
    assert seen.pending_by_reason == Known({"capacity": 0, "deferred": 0}, 5)


def test_an_engine_that_joins_counts_from_nothing_and_the_others_go_on() -> None:
    tokens = between(LATER, second_engine(LATER))
    assert tokens is not None
    assert (tokens.prompt, tokens.generation, tokens.ended) == (952, 5989, 44)


def test_after_a_restart_all_that_stands_there_came_since() -> None:
    vllm = server()
    absorb(vllm, 5, LATER)
    vllm.missed(10, TargetUnreachableError("v", "connection refused"))
    absorb(vllm, 15, EARLIER)
    (interval,) = model(vllm, 15).intervals
    assert interval.tokens is not None
    assert (interval.tokens.prompt, interval.tokens.generation, interval.tokens.ended) == (800, 2565, 44)


def test_a_restart_that_only_tokens_tell_is_noticed() -> None:
    nobody = re.sub(r"^(vllm:request_success_total\S+) \S+$", r"\1 0", LATER, flags=re.MULTILINE)
    vllm = server()
    absorb(vllm, 5, nobody)
    absorb(vllm, 10, nobody.replace(" 5989.0", " 12.0"))
    (interval,) = model(vllm, 10).intervals
    assert interval.began_anew
    assert interval.tokens is not None
    assert interval.tokens.generation == 12
    assert vllm.reading(10).incarnation == 1


def test_old_names_of_the_prefix_cache_are_understood_and_new_ones_win() -> None:
    def old(page: str) -> str:
        return page.replace("vllm:prefix_cache_", "vllm:gpu_prefix_cache_")

    before, after = old(EARLIER), old(LATER)
    assert "vllm:prefix_cache_queries_total" not in after
    tokens = between(before, after)
    assert tokens is not None
    assert tokens.prefix_queries == 152
    both = LATER + 'vllm:gpu_prefix_cache_queries_total{engine="0",model_name="tiny"} 7\n'
    assert reading(both).counters == reading(LATER).counters


def test_a_version_without_some_counters_leaves_only_them_out() -> None:
    pages = [without(page, "vllm:prefix_cache", "vllm:num_preemptions") for page in (EARLIER, LATER)]
    tokens = between(*pages)
    assert tokens is not None
    assert (tokens.prefix_queries, tokens.prefix_hits, tokens.preemptions) == (None, None, None)
    assert (tokens.prompt, tokens.generation) == (152, 3424)
    assert isinstance(reading(pages[1]).counters, Known)


def test_a_counter_that_begins_to_be_exported_counts_from_the_next_reading() -> None:
    tokens = between(without(EARLIER, "vllm:prefix_cache_hits"), LATER)
    assert tokens is not None
    assert (tokens.prefix_hits, tokens.prefix_queries) == (None, 152)


def test_a_token_counter_that_is_no_number_is_left_out_and_the_requests_count() -> None:
    after = changed(LATER, 'vllm:generation_tokens_total{engine="0",model_name="tiny"}', float("nan"))
    tokens = between(EARLIER, after)
    assert tokens is not None
    assert (tokens.generation, tokens.prompt) == (None, 152)
    counters = reading(after).counters
    assert isinstance(counters, Known)
    assert (Counter.GENERATION_TOKENS, "") not in counters.value


def test_a_server_that_counts_no_tokens_has_none() -> None:
    families = ["vllm:prompt_tokens", "vllm:generation_tokens", "vllm:num_preemptions", "vllm:prefix_cache"]
    families += ["vllm:request_prompt_tokens", "vllm:request_generation_tokens", "vllm:inter_token_latency"]
    assert between(without(EARLIER, *families), without(LATER, *families)) is None


@pytest.mark.parametrize(
    ("label", "state"), [("weights_offloaded", SleepState.WEIGHTS_OFFLOADED), ("discard_all", SleepState.DISCARDED)]
)
def test_how_deep_it_sleeps_is_told(label: str, state: SleepState) -> None:
    page = LATER.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    seen = reading(page.replace(f'sleep_state="{label}"}} 0.0', f'sleep_state="{label}"}} 1.0'))
    assert (seen.state, seen.reason, seen.sleep) == (ModelState.UNAVAILABLE, ASLEEP, Known(state, 5))


def test_one_sleeping_engine_of_two_is_told_though_the_model_is_ready() -> None:
    page = second_engine(LATER)
    page = changed(page, 'vllm:engine_sleep_state{engine="1",model_name="tiny",sleep_state="awake"}', 0)
    page = changed(page, 'vllm:engine_sleep_state{engine="1",model_name="tiny",sleep_state="weights_offloaded"}', 1)
    seen = reading(page)
    assert (seen.state, seen.sleep) == (ModelState.READY, Known(SleepState.WEIGHTS_OFFLOADED, 5))


def test_versions_that_do_not_tell_leave_signals_missing() -> None:
    told = ("vllm:engine_sleep_state", "vllm:num_requests_waiting_by_reason", "vllm:admission_rejections")
    seen = reading(without(LATER, *told, "vllm:cache_config_info"))
    assert seen.state is ModelState.READY
    for signal in (seen.sleep, seen.pending_by_reason, seen.refused, seen.kv_cache_tokens):
        assert signal == NOT_EXPORTED


@pytest.mark.parametrize(
    ("old", "new", "tokens"),
    [
        ('kv_cache_size_tokens="1048576"', 'kv_cache_size_tokens="463459"', 463459),
        ('kv_cache_size_tokens="1048576",', "", 8192 * 128),
        ('kv_cache_size_tokens="1048576"', 'kv_cache_size_tokens="None"', 8192 * 128),
    ],
)
def test_the_size_of_the_cache_is_the_told_one_else_blocks_times_their_size(old: str, new: str, tokens: int) -> None:
    assert old in LATER
    assert reading(LATER.replace(old, new)).kv_cache_tokens == Known(tokens, 5)


def test_a_cache_without_a_size_is_missing_and_says_what_it_says() -> None:
    page = LATER.replace('kv_cache_size_tokens="1048576",', "").replace(
        'num_gpu_blocks="8192"', 'num_gpu_blocks="None"'
    )
    seen = reading(page).kv_cache_tokens
    assert seen == Missing("vllm:cache_config_info tells no size: num_gpu_blocks='None'")


def test_the_cache_is_nobody_s_where_a_page_tells_of_two_models() -> None:
    lines = [line for line in LATER.splitlines() if 'model_name="tiny"' in line]
    page = LATER + "".join(line.replace('model_name="tiny"', 'model_name="big"') + "\n" for line in lines)
    assert isinstance(reading(page).kv_cache_tokens, Missing)


def test_the_adapters_of_the_newest_change_hold_and_not_those_that_stay_on_the_page() -> None:
    page = (
        LATER + LORA.format("a,b", "", 1700000100.5) + LORA.format("", "", 1700000000.0) + LORA.format("a", "b", 1.6e9)
    )
    assert reading(page).adapters == Known(Adapters(2, ("a", "b"), ()), 5)
    assert reading(page + LORA.format("b", "a, c", 1.8e9)).adapters == Known(Adapters(2, ("b",), ("a", "c")), 5)


def test_waiting_for_an_adapter_is_told_from_waiting_for_capacity() -> None:
    page = changed(LATER, 'vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="deferred"}', 3)
    page = changed(page, 'vllm:num_requests_waiting{engine="0",model_name="tiny"}', 3)
    seen = reading(page)
    assert (seen.pending, seen.pending_by_reason) == (Known(3, 5), Known({"capacity": 0, "deferred": 3}, 5))


def test_requests_that_were_refused_are_known_and_among_the_outcomes() -> None:
    page = changed(LATER, 'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"}', 5)
    seen = reading(page)
    assert seen.refused == Known(5, 5)
    assert isinstance(seen.counters, Known)
    assert seen.counters.value[Counter.REQUESTS, "refused"] == 5


def test_everything_ages_with_the_page() -> None:
    vllm = server()
    absorb(vllm, 5, LATER)
    signal = vllm.reading(30).models["llm"]
    assert not isinstance(signal, (Known, Missing))
    parts = (signal.value.sleep, signal.value.counters, signal.value.kv_cache_tokens, signal.value.refused)
    assert not any(isinstance(part, Known) for part in parts)


def test_served_models_of_a_page_are_each_given_their_own_counts() -> None:
    page = LATER + 'vllm:num_requests_running{engine="0",model_name="big"} 1\n'
    page += 'vllm:generation_tokens_total{engine="0",model_name="big"} 11\n'
    served = read_served(parse(page, VLLM.wanted))
    assert served["big"].tokens == {"0": {Counter.GENERATION_TOKENS: 11}}
    assert served["tiny"].tokens["0"][Counter.GENERATION_TOKENS] == 5989
