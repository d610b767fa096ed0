from __future__ import annotations

import json

import pytest

from controlplane.collect.counters import FAILED, Executed, Totals
from controlplane.collect.exposition import parse
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import (
    IndexEntry,
    ModelConfig,
    largest_batch,
    read_config,
    read_index,
    read_inputs,
    read_series,
    read_stats,
)
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.observation import ModelState
from tests.unit.collect.pages import recorded, triton_page


def index(*rows: dict[str, str]) -> dict[str, IndexEntry]:
    return read_index(json.dumps(rows).encode())


def test_index_states_are_read_as_the_server_means_them() -> None:
    assert index(
        {"name": "never"},
        {"name": "ready", "version": "1", "state": "READY"},
        {"name": "loading", "version": "1", "state": "LOADING"},
        {"name": "unloading", "version": "1", "state": "UNLOADING"},
        {"name": "unloaded", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "Internal: no such thing"},
        {"name": "kept", "version": "1", "state": "READY", "reason": "the update failed"},
    ) == {
        "never": IndexEntry(ModelState.UNLOADED, touched=False),
        "ready": IndexEntry(ModelState.READY, touched=True, versions=("1",)),
        "loading": IndexEntry(ModelState.LOADING, touched=True),
        "unloading": IndexEntry(ModelState.UNLOADING, touched=True),
        "unloaded": IndexEntry(ModelState.UNLOADED, touched=True),
        "broken": IndexEntry(ModelState.UNAVAILABLE, "Internal: no such thing", touched=True),
        "kept": IndexEntry(ModelState.READY, "the update failed", touched=True, versions=("1",)),
    }


def test_of_several_versions_the_one_that_serves_counts() -> None:
    rows = [
        {"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "m", "version": "3", "state": "READY"},
        {"name": "m", "version": "2", "state": "UNAVAILABLE", "reason": "unloaded"},
    ]
    assert index(*rows)["m"].state is ModelState.READY


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'[{"version": "1"}]', b'[{"name": "m", "state": "DANCING"}]'])
def test_an_index_that_is_not_one_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPageError):
        read_index(body)


def test_the_recorded_statistics_are_read() -> None:
    stats = read_stats(recorded("triton-2.51.0-model-stats.json").encode())
    assert stats == {"echo": {("1", 1): Executed(528, 23607468 + 5926656757 + 47146865)}}
    assert largest_batch(stats["echo"]) == 1
    assert largest_batch(None) == 0


def test_what_failed_requests_took_is_read() -> None:
    body = b'{"model_stats":[{"name":"m","version":"1","inference_stats":{"fail":{"count":2,"ns":2005468404}}}]}'
    assert read_stats(body) == {"m": {("1", FAILED): Executed(2, 2005468404)}}


def test_statistics_of_a_model_without_executions_are_read_and_empty() -> None:
    assert read_stats(b'{"model_stats":[{"name":"m","version":"1","batch_stats":[]}]}') == {"m": {}}


def test_the_recorded_configuration_is_read() -> None:
    assert read_config(recorded("triton-2.51.0-model-config.json").encode()) == ModelConfig(
        instances=4,
        instances_per_step=1,
        max_batch_size=1,
        dynamic_batching=True,
        max_queue_delay_s=0.0,
        gpus=(),
        preferred_batch_sizes=(1,),
    )


def test_a_count_is_per_listed_gpu_and_long_numbers_may_be_text() -> None:
    config = {
        "max_batch_size": 8,
        "instance_group": [{"kind": "KIND_GPU", "count": 3, "gpus": [0, 2]}],
        "dynamic_batching": {"max_queue_delay_microseconds": "2500", "preferred_batch_size": [4, 8]},
    }
    found = read_config(json.dumps(config).encode())
    assert (found.instances, found.instances_per_step, found.gpus) == (6, 2, (0, 2))
    assert found.max_queue_delay_s == 0.0025
    assert found.preferred_batch_sizes == (4, 8)
    assert not found.other_scheduler


@pytest.mark.parametrize("scheduler", ["sequence_batching", "ensemble_scheduling"])
def test_what_rules_dynamic_batching_out_is_read(scheduler: str) -> None:
    assert read_config(json.dumps({"max_batch_size": 8, scheduler: {}}).encode()).other_scheduler


@pytest.mark.parametrize("body", [b"[]", b"x", b'{"max_batch_size": "many"}', b'{"instance_group": [{"count": "x"}]}'])
def test_a_configuration_that_is_not_one_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPageError):
        read_config(body)


@pytest.mark.parametrize("read", [read_stats, read_inputs])
def test_other_answers_that_are_not_what_they_should_be_are_malformed(read: object) -> None:
    assert callable(read)
    with pytest.raises(MalformedPageError):
        read(b'{"error": "no"}')


def test_the_recorded_metrics_page_is_read() -> None:
    series = read_series(parse(recorded("triton-2.51.0-cpu-summaries.txt"), TRITON.wanted))["echo"]
    assert series.groups == {"version=1": Totals(800, 18.351984, 9.208628)}
    assert (series.pending, series.complete, sum(series.failures.values())) == (0, True, 0)


def test_an_unloaded_model_has_only_failures_left() -> None:
    series = read_series(parse(triton_page("m", backend=2, loaded=False), TRITON.wanted))["m"]
    assert (series.groups, series.pending, series.complete) == ({}, None, True)
    assert sum(series.failures.values()) == 2


def test_pending_requests_of_all_versions_add_up() -> None:
    text = triton_page("m", pending=2) + triton_page("m", pending=3).replace('version="1"', 'version="2"')
    series = read_series(parse(text, TRITON.wanted))["m"]
    assert (series.pending, len(series.groups)) == (5, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('nv_inference_request_success{model="m",version="1"} 5\n', ""),
        (
            'nv_inference_request_success{model="m",version="1"} 5',
            'nv_inference_request_success{model="m",version="1"} Nan',
        ),
        (
            'nv_inference_pending_request_count{model="m",version="1"} 0',
            'nv_inference_pending_request_count{model="m"} Nan',
        ),
        ('nv_inference_queue_duration_us{model="m",version="1"} 0\n', ""),
        ('reason="BACKEND",version="1"} 0', 'reason="BACKEND",version="1"} -1'),
    ],
)
def test_a_model_that_lacks_a_counter_or_has_one_that_is_no_count_is_incomplete(old: str, new: str) -> None:
    text = triton_page("m", success=5)
    assert old in text
    series = read_series(parse(text.replace(old, new) + triton_page("n"), TRITON.wanted))
    assert not series["m"].complete
    assert series["n"].complete


def test_inputs_are_read_from_metadata() -> None:
    body = b'{"name":"m","versions":["1"],"platform":"python","inputs":[{"name":"X","datatype":"FP32","shape":[-1,4]}]}'
    (tensor,) = read_inputs(body)
    assert (tensor.name, tensor.datatype, tensor.shape) == ("X", "FP32", [-1, 4])
