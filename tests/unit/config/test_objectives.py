"""Kinds of objectives as they are written: what they become, and what is refused with which words."""

from __future__ import annotations

import pytest

from controlplane.config import parse_settings
from controlplane.config.promql import parse_selector
from controlplane.config.units import parse_rate, parse_version
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.objectives import (
    CounterRatio,
    Indicator,
    IndicatorSource,
    Objective,
    Selector,
    ValueRatio,
)

SERVERS = {
    "triton": "{name: t, kind: triton, http: 'http://h:1', grpc: 'h:2', metrics: 'http://h:3'}",
    "vllm": "{name: t, kind: vllm, http: 'http://h:1'}",
    "sglang": "{name: t, kind: sglang, http: 'http://h:1'}",
    "tfserving": "{name: t, kind: tfserving, http: 'http://h:1'}",
}


def objectives(written: str, kind: str = "triton") -> tuple[Objective, ...]:
    text = (
        f"servers: [{SERVERS[kind]}]\nprometheus: [{{name: main, url: 'http://p:9090'}}]\n"
        f"models: [{{name: m, runs_on: [t], mode: observe, objectives: [{written}]}}]\n"
    )
    (model,) = parse_settings(text, {}).fleet.models
    return model.objectives


def faults(written: str, kind: str = "triton") -> list[str]:
    """What is wrong, from the objective on."""
    with pytest.raises(ConfigurationError) as error:
        objectives(written, kind)
    return [f"{f.path.removeprefix('models[0].objectives[0]')}: {f.value}; {f.allowed}" for f in error.value.faults]


def test_counters_of_a_prometheus_are_read_without_the_sum_around_them() -> None:
    (objective,) = objectives(
        "{name: checkout, target: 99%, ratio: {prometheus: main, "
        "good: 'sum by (job) (orders_total{code!~\"5..\"})', total: orders_total}}"
    )
    good = Selector('orders_total{code!~"5.."}', "orders_total", ("code",))
    assert objective.ratio == CounterRatio("checkout", "main", Selector("orders_total", "orders_total"), good)
    assert (objective.key, objective.source) == ("ratio_checkout_prometheus", IndicatorSource.PROMETHEUS)


def test_a_share_is_judged_slice_by_slice() -> None:
    (objective,) = objectives(
        "{name: cache, target: 99%, ratio: {prometheus: main, value: 'avg(hits)', at_least: 95%}}"
    )
    assert objective.ratio == ValueRatio("cache", "main", "avg(hits)", at_least=0.95)
    assert (objective.key, objective.source) == ("ratio_cache_value_slices", IndicatorSource.VALUE_SLICES)


@pytest.mark.parametrize("kind", ["triton", "vllm", "sglang"])
def test_throughput_has_a_floor_in_place_of_a_threshold(kind: str) -> None:
    (objective,) = objectives("{throughput: 3000/m, target: 99%}", kind)
    assert (objective.floor_per_s, objective.threshold_s) == (50.0, None)
    assert (objective.key, objective.source) == ("throughput_50_per_s_rate_slices", IndicatorSource.RATE_SLICES)


def test_tokens_have_a_floor_where_they_are_counted() -> None:
    (objective,) = objectives("{token_throughput: 1000/s, target: 99%}", "vllm")
    assert objective.indicator is Indicator.TOKEN_THROUGHPUT
    assert faults("{token_throughput: 1000/s, target: 99%}") == [
        ".token_throughput: this key; one of availability, latency, ttft, throughput, ratio for a model on triton"
    ]


def test_versions_of_a_model_have_objectives_of_their_own() -> None:
    both = objectives("{availability: 99%}, {availability: 99.9%, version: '2'}, {availability: 99.9%, version: 3}")
    assert [o.key for o in both] == [
        "availability_server",
        "availability_server_version_2",
        "availability_server_version_3",
    ]


@pytest.mark.parametrize(
    ("kind", "written", "told"),
    [
        ("triton", "throughput: 50, target: 99%", ".throughput: 50; a number above 0 per second, minute or hour"),
        ("triton", "throughput: 50/s", ".target: nothing; it is required"),
        ("triton", "throughput: 50/s, target: 99%, source: server", ".source: 'server'; one of rate_slices for"),
        (
            "tfserving",
            "throughput: 50/s, target: 99%",
            ".throughput: this key; one of availability, latency, e2e, ratio",
        ),
        ("triton", "availability: 99%, name: x", ".name: 'x'; only with ratio"),
        ("triton", "availability: 99%, version: two", ".version: 'two'; the number of a version"),
        ("vllm", "availability: 99%, version: 2", ".version: '2'; only for models on Triton"),
        (
            "triton",
            "latency: 1s, target: 99%, source: mean_slices, version: 2",
            ".version: '2'; only with availability",
        ),
        ("triton", "name: x, target: 99%, ratio: {prometheus: mian, value: a, at_least: 1%}", "did you mean 'main'?"),
        ("triton", "target: 99%, ratio: {prometheus: main, good: a, total: b}", ".name: nothing; it is required"),
        ("triton", "name: x, ratio: {prometheus: main, good: a, total: b}", ".target: nothing; it is required"),
        ("triton", "name: x, target: 99%, ratio: {good: a, total: b}", ".ratio.prometheus: nothing; it is required"),
        (
            "triton",
            "name: x, target: 99%, ratio: {prometheus: main, good: a}",
            ".ratio: good; total with good or bad, or",
        ),
        (
            "triton",
            "name: x, target: 99%, ratio: {prometheus: main, good: a, bad: b, total: c}",
            ".ratio: bad and good and total; total with good or bad",
        ),
        (
            "triton",
            "name: x, target: 99%, ratio: {prometheus: main, value: a}",
            ".ratio: nothing; exactly one of: at_least, at_most",
        ),
        (
            "triton",
            "name: x, target: 99%, ratio: {prometheus: main, good: a, total: b, at_most: 1%}",
            ".ratio.at_most: this key; only with value",
        ),
        (
            "triton",
            "name: x, target: 99%, source: server, ratio: {prometheus: main, good: a, total: b}",
            ".source: 'server'; not with ratio",
        ),
        (
            "triton",
            "name: x, target: 99%, ratio: {prometheus: main, good: 'rate(a[5m])', total: a}",
            ".ratio.good: 'rate(a[5m])'; the counter itself, without rate(): differences are taken here",
        ),
    ],
)
def test_what_cannot_be_is_refused(kind: str, written: str, told: str) -> None:
    found = faults(f"{{{written}}}", kind)
    assert len(found) == 1, found
    assert told in found[0]


def test_two_ratios_of_a_model_have_two_names() -> None:
    both = "{name: x, target: 99%, ratio: {prometheus: main, good: a, total: b}}"
    with pytest.raises(ConfigurationError, match="objectives\\[0\\] is the same"):
        objectives(f"{both}, {both}")


@pytest.mark.parametrize(
    ("written", "selector"),
    [
        ("a_total", Selector("a_total", "a_total")),
        ('a{b="}", c!~`rate(x[5m])`}', Selector('a{b="}", c!~`rate(x[5m])`}', "a", ("b", "c"))),
        ("sum(a{}) without (x, y)", Selector("a{}", "a")),
        (' SUM BY (x) ( job:a:sum{b=~"c|d",} ) ', Selector('job:a:sum{b=~"c|d",}', "job:a:sum", ("b",))),
    ],
)
def test_a_selector_may_stand_in_a_sum(written: str, selector: Selector) -> None:
    assert parse_selector(written) == selector


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("increase(a[1h])", "without increase()"),
        ("sum(irate(a[1h]))", "without irate()"),
        ("a[5m]", "without a range"),
        ("a offset 5m", "a selector of"),
        ("a + b", "a selector of"),
        ("max(a)", "a selector of"),
        ("sum(a) / sum(b)", "a selector of"),
        ('{job="x"}', "a selector of"),
        ("a{b=c}", "a selector of"),
        ("", "a selector of"),
    ],
)
def test_anything_else_is_no_counter(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"selector|counter") as error:
        parse_selector(written)
    assert why in str(error.value)


@pytest.mark.parametrize("written", ["0/s", "-1/s", "5", 5, "5/d", "5 per s", None, True])
def test_a_rate_has_its_unit(written: object) -> None:
    assert (parse_rate("0.5/s"), parse_rate("36 / h")) == (0.5, 0.01)
    with pytest.raises(ValueError, match="such as 50/s"):
        parse_rate(written)


@pytest.mark.parametrize("written", ["", "v2", "0", "01", 1.5, True, None, -1])
def test_a_version_is_a_number(written: object) -> None:
    assert (parse_version(2), parse_version("17")) == ("2", "17")
    with pytest.raises(ValueError, match="such as 2"):
        parse_version(written)
