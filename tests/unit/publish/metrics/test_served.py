"""What servers tell of their models and machines, on the metrics page."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from controlplane.collect.servers import scraped
from controlplane.collect.vllm.server import VllmServer
from controlplane.domain import names
from controlplane.domain.observation import Counter, FleetReading, HostGauge, ServerReading
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Missing
from controlplane.publish.metrics.families import COUNTER_PARTS, FAMILIES, HOST_FAMILIES, MODEL_FAMILIES
from controlplane.publish.metrics.page import PictureMetrics
from tests.unit.collect.pages import absorb
from tests.unit.publish.recorded_servers import FLEET, NOW, TRITON_PAGE, VLLM_PAGE, triton, vllm

TRITON_UNIT = {"model": "bert", "server": "t"}
VLLM_UNIT = {"model": "llm", "server": "v"}


def registry(*servers: ServerReading) -> CollectorRegistry:
    reading = FleetReading(NOW, {server.name: server for server in servers}, {}, {}, Missing("no driver"))
    made = CollectorRegistry()
    made.register(PictureMetrics(lambda: Picture(NOW, FLEET, reading)))
    return made


def series(found: CollectorRegistry) -> set[str]:
    return {sample.name for family in found.collect() for sample in family.samples}


def test_every_counter_and_gauge_has_a_family() -> None:
    assert {family.name for family in MODEL_FAMILIES} >= set(names.MODEL_COUNTERS.values())
    assert {family.name for family in HOST_FAMILIES} == {names.SERVER_HOST[gauge] for gauge in HostGauge}
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert COUNTER_PARTS.keys() == {Counter.REQUESTS, Counter.COMPUTE_S, Counter.RESPONSE_CACHE}


def test_counters_of_a_recorded_triton_stand_as_on_its_page() -> None:
    found = registry(triton(TRITON_PAGE))
    assert found.get_sample_value("controlplane_model_requests_total", TRITON_UNIT | {"outcome": "success"}) == 800
    assert found.get_sample_value("controlplane_model_requests_total", TRITON_UNIT | {"outcome": "rejected"}) == 0
    assert found.get_sample_value("controlplane_model_executions_total", TRITON_UNIT) == 608
    assert found.get_sample_value("controlplane_model_queue_seconds_total", TRITON_UNIT) == 9.208628
    assert (
        found.get_sample_value("controlplane_model_compute_seconds_total", TRITON_UNIT | {"phase": "infer"}) == 9.004877
    )
    assert found.get_sample_value("controlplane_server_cpu_memory_total_bytes", {"server": "t"}) == 25276502016
    absent = {
        "controlplane_model_prompt_tokens_total",
        "controlplane_model_sleep",
        "controlplane_model_running_requests",
    }
    assert not absent & series(found)


def test_a_triton_s_gpus_are_told_by_their_uuid() -> None:
    text = TRITON_PAGE.replace('nv_inference_count{model="echo"', 'nv_inference_count{gpu_uuid="GPU-7",model="echo"')
    found = registry(triton(text + 'nv_gpu_memory_used_bytes{gpu_uuid="GPU-7"} 5000\n'))
    gpu = {"server": "t", "gpu": "GPU-7"}
    assert found.get_sample_value("controlplane_server_gpu_memory_used_bytes", gpu) == 5000
    assert found.get_sample_value("controlplane_model_gpu_info", TRITON_UNIT | {"gpu": "GPU-7"}) == 1


def test_what_a_recorded_vllm_tells_stands_as_on_its_page() -> None:
    found = registry(vllm(VLLM_PAGE))
    for name, value in (
        ("controlplane_model_prompt_tokens_total", 952),
        ("controlplane_model_generation_tokens_total", 5989),
        ("controlplane_model_prefix_cache_queried_tokens_total", 952),
        ("controlplane_model_preemptions_total", 0),
        ("controlplane_model_ended_generation_tokens_total", 2565),
        ("controlplane_model_running_requests", 23),
        ("controlplane_model_kv_cache_capacity_tokens", 1048576),
    ):
        assert found.get_sample_value(name, VLLM_UNIT) == value, name
    assert found.get_sample_value("controlplane_model_requests_total", VLLM_UNIT | {"outcome": "length"}) == 36
    assert found.get_sample_value("controlplane_model_sleep", VLLM_UNIT | {"state": "awake"}) == 1
    by_reason = "controlplane_model_pending_requests_by_reason"
    assert found.get_sample_value(by_reason, VLLM_UNIT | {"reason": "deferred"}) == 0
    assert not {"controlplane_model_adapters", "controlplane_model_executions_total"} & series(found)


def test_adapters_are_counted_and_not_named() -> None:
    lora = 'vllm:lora_requests_info{max_lora="4",running_lora_adapters="a,b",waiting_lora_adapters="c"} 1.7e9\n'
    found = registry(vllm(VLLM_PAGE + lora))
    assert found.get_sample_value("controlplane_model_adapter_slots", VLLM_UNIT) == 4
    assert found.get_sample_value("controlplane_model_adapters", VLLM_UNIT | {"use": "running"}) == 2
    assert found.get_sample_value("controlplane_model_adapters", VLLM_UNIT | {"use": "waiting"}) == 1


def test_what_is_stale_has_no_sample() -> None:
    server = VllmServer(FLEET.servers[1], FLEET.models[1:], scraped(FLEET.servers[1], []), max_age_s=15, keep_s=900)
    absorb(server, NOW - 60, VLLM_PAGE)
    assert not {name for name in series(registry(server.reading(NOW))) if name.startswith("controlplane_model_")}
