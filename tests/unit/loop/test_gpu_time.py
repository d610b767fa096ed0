"""Whose time a GPU's is, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.gpu import GpuProcess, GpuReading, SliceReading
from controlplane.domain.lora import Lora
from controlplane.domain.observation import FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known, Missing
from controlplane.loop.gpu_time import GpuTime

NOW = 1_800_000_000.0
FLEET = Fleet(
    (
        ServerSpec("t0", ServerKind.TRITON, "http://127.0.0.1:8000", "http://127.0.0.1:8002/metrics", "127.0.0.1:8001"),
        ServerSpec("v0", ServerKind.VLLM, "http://127.0.0.1:9000", "http://127.0.0.1:9000/metrics"),
    ),
    (
        ModelSpec("a", "a", ("t0",), Mode.ACT),
        ModelSpec("b", "b", ("t0",), Mode.ACT),
        ModelSpec("llm", "llm", ("v0",), Mode.OBSERVE),
    ),
)
A, B, LLM = ("a", "t0"), ("b", "t0"), ("llm", "v0")
GPU = ("", "GPU-0")
PRICES = Prices(gpu_hour=3.6, by_name={"H200": 7.2})


def process(port: int, piece: str = "") -> GpuProcess:
    return GpuProcess(1, Missing("not told"), piece, ports=Known((port,), NOW))


def a_gpu(*processes: GpuProcess, **signals: object) -> GpuReading:
    fields: dict[str, object] = {
        "utilisation": Known(0.5, NOW),
        "memory_used_bytes": Known(0, NOW),
        "memory_total_bytes": Known(80_000, NOW),
        "power_w": Missing("not asked"),
        "mig_enabled": Known(value=False, observed_at=NOW),
        "processes": Known(processes, NOW),
        "slices": Known((), NOW),
    }
    return GpuReading("GPU-0", 0, "H200", **(fields | signals))  # type: ignore[arg-type]


def loaded(*gpus: str, uuids: tuple[str, ...] = (), state: ModelState = ModelState.READY) -> Known[ModelReading]:
    return Known(ModelReading(state, gpus=gpus, gpu_uuids=uuids), NOW)


ON_GPU = loaded("0")


def reading(*gpus: GpuReading, **models: Known[ModelReading]) -> FleetReading:
    """`a` and `b` with instances on GPUs of t0, and what v0 serves, unless told otherwise."""
    seen = {"a": ON_GPU, "b": ON_GPU, "llm": loaded()} | models
    live, control = Known(value=True, observed_at=NOW), Missing("not asked")
    servers = {
        "t0": ServerReading("t0", live, control, 0, {name: seen[name] for name in ("a", "b")}),
        "v0": ServerReading("v0", live, control, 0, {"llm": seen["llm"]}),
    }
    return FleetReading(NOW, servers, {}, {}, Known(gpus, NOW))


def after(seen: FleetReading, past_s: float = 10.0, prices: Prices = PRICES) -> GpuTime:
    """Two looks at the same."""
    time = GpuTime(prices)
    time.look(FLEET, seen, NOW)
    time.look(FLEET, seen, NOW + past_s)
    return time


def test_a_gpu_is_divided_equally_among_the_models_on_it() -> None:
    time = after(reading(a_gpu(process(8001), process(9000))), 30.0)
    assert time.unit_s == {A: 10.0, B: 10.0, LLM: 10.0}
    assert (time.gpu_s, time.busy_s) == ({GPU: 30.0}, {GPU: 15.0})


def test_a_model_of_a_triton_without_instances_on_gpus_has_none_of_it() -> None:
    assert after(reading(a_gpu(process(8001)), b=loaded())).unit_s == {A: 10.0}


def test_what_an_adapter_uses_is_of_its_base() -> None:
    adapter = ModelSpec("sql", "sql", ("v0",), Mode.OBSERVE, lora=Lora("/a", "llm"))
    seen, time = reading(a_gpu(process(9000))), GpuTime(PRICES)
    v0 = replace(seen.servers["v0"], models={**seen.servers["v0"].models, "sql": loaded()})
    for at in (NOW, NOW + 10.0):
        time.look(
            replace(FLEET, models=(*FLEET.models, adapter)), replace(seen, servers={**seen.servers, "v0": v0}), at
        )
    assert time.unit_s == {LLM: 10.0}


def test_the_gpus_that_counters_name_need_no_process() -> None:
    named = loaded(uuids=("GPU-0",))
    assert after(reading(a_gpu(processes=Missing("no permission")), a=named)).unit_s == {A: 10.0}


def test_a_process_does_not_put_a_model_where_its_counters_say_it_is_not() -> None:
    elsewhere = loaded("1", uuids=("GPU-1",))
    assert after(reading(a_gpu(process(8001)), b=elsewhere)).unit_s == {A: 10.0}


@pytest.mark.parametrize("state", [ModelState.UNLOADED, ModelState.LOADING, ModelState.UNAVAILABLE])
def test_a_model_that_is_not_loaded_has_none_of_it(state: ModelState) -> None:
    assert after(reading(a_gpu(process(8001)), b=loaded("0", state=state))).unit_s == {A: 10.0}


def test_a_gpu_on_which_nobody_is_known_belongs_to_nobody() -> None:
    time = after(reading(a_gpu(process(12345))))
    assert (time.unit_s, time.cost, time.gpu_s) == ({}, {}, {GPU: 10.0})


def test_a_gap_between_two_looks_counts_for_nothing_and_looks_may_be_rare() -> None:
    seen = reading(a_gpu(process(9000)))
    assert after(seen, 300.0).gpu_s == {GPU: 300.0}
    assert after(seen, 301.0).gpu_s == {GPU: 0.0}
    rare = GpuTime(PRICES, every_s=600.0)
    for at in (0.0, 600.0, 1200.0, 2401.0):
        rare.look(FLEET, seen, NOW + at)
    assert (rare.gpu_s, rare.unit_s) == ({GPU: 1200.0}, {LLM: 1200.0})


def test_utilisation_that_is_not_known_adds_nothing() -> None:
    assert after(reading(a_gpu(utilisation=Missing("not supported")))).busy_s == {}


def test_the_cost_is_the_time_at_the_price_of_the_name() -> None:
    seen = reading(a_gpu(process(9000)))
    assert after(seen, 100.0).cost[LLM] == pytest.approx(0.2)
    assert after(seen, 100.0, Prices(gpu_hour=3.6)).cost[LLM] == pytest.approx(0.1)
    assert after(seen, 100.0, Prices()).cost == {}


def a_slice(uuid: str, memory_bytes: int, instance: int) -> SliceReading:
    return SliceReading(uuid, instance, 0, Missing(""), Known(0, NOW), Known(memory_bytes, NOW), Missing(""))


def test_the_time_of_a_slice_is_its_share_of_the_memory_in_eighths() -> None:
    # as an 80 GB GPU gives them: a little less than 4/8 and 1/8
    slices = Known((a_slice("MIG-1", 39_500, 1), a_slice("MIG-2", 9_750, 2)), NOW)
    cut = a_gpu(process(8001, "MIG-1"), process(9000, "MIG-2"), slices=slices, mig_enabled=Known(True, NOW))  # noqa: FBT003
    assert after(reading(cut), 80.0).unit_s == {A: 20.0, B: 20.0, LLM: 10.0}


def test_slices_of_one_gpu_instance_have_its_memory_together() -> None:
    slices = Known((a_slice("MIG-1", 39_500, 1), a_slice("MIG-2", 39_500, 1)), NOW)
    assert after(reading(a_gpu(process(9000, "MIG-1"), slices=slices)), 80.0).unit_s == {LLM: 20.0}


def test_of_a_cut_gpu_whose_slices_are_not_known_nothing_is_divided() -> None:
    cut = a_gpu(process(9000), slices=Missing("no permission"), mig_enabled=Known(True, NOW))  # noqa: FBT003
    assert after(reading(cut)).unit_s == {}


def test_time_counts_between_two_looks_that_see_the_gpu_and_lie_not_too_far_apart() -> None:
    seen = reading(a_gpu(process(9000)))
    gone = replace(seen, gpus=Missing("the agent does not answer"))
    time = GpuTime(PRICES)
    for at, each in ((0, seen), (10, seen), (20, gone), (30, seen), (40, seen), (400, seen), (390, seen)):
        time.look(FLEET, each, NOW + at)
    assert (time.gpu_s, time.unit_s) == ({GPU: 20.0}, {LLM: 20.0})


def test_a_model_is_counted_from_zero_and_forgotten_when_it_leaves() -> None:
    time, seen = GpuTime(PRICES), reading(a_gpu(process(9000)))
    time.look(FLEET, seen, NOW)
    assert (time.unit_s, time.cost, time.gpu_s) == ({LLM: 0.0}, {LLM: 0.0}, {GPU: 0.0})
    time.look(replace(FLEET, models=FLEET.models[:2]), seen, NOW + 10)
    assert (time.unit_s, time.cost) == ({}, {})


def test_a_price_is_found_with_and_without_the_maker_before_the_name() -> None:
    prices = Prices(gpu_hour=1.0, by_name={"H100 80GB HBM3": 4.1, "NVIDIA A30": 2.0, "A30": 3.0, "NVIDIA L4": 0.5})
    assert [prices.of(f"NVIDIA {name}") for name in ("H100 80GB HBM3", "A30", "L4", "T4")] == [4.1, 2.0, 0.5, 1.0]
    assert [prices.of(name) for name in ("H100 80GB HBM3", "A30", "L4", "T4")] == [4.1, 3.0, 0.5, 1.0]


def test_prices_of_gpus_that_nobody_saw_are_told_once_when_all_nodes_had_time() -> None:
    time = GpuTime(Prices(by_name={"NVIDIA H200": 7.2, "H20O": 1.0}))
    with capture_logs() as logs:
        for past_s in (0.0, 60.0, 125.0, 190.0, 255.0):
            time.look(FLEET, reading(*((a_gpu(),) if past_s else ())), NOW + past_s)
            assert len(logs) == (past_s >= 190.0)
    assert (logs[0]["unseen"], logs[0]["seen"]) == (("H20O",), ["H200"])
