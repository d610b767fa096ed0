"""The load generator against a real Triton."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import tritonclient.grpc.aio as triton_aio
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from controlplane.demo.load_plan import LoadPlan, Profile
from controlplane.demo.load_process import LoadProcess
from controlplane.demo.rig import TritonRig, free_ports
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

BERT, RESNET = "bert_classifier", "resnet50_detector"


@pytest.fixture(scope="module")
def rig(module_triton_rig: RigFactory) -> TritonRig:
    return module_triton_rig([BERT, RESNET], repository={"time_scale": 0.2}, load=(BERT,))


def steady(per_s: float) -> Profile:
    return Profile(((0, per_s),))


@asynccontextmanager
async def control_plane(rig: TritonRig, *, token: str, answers: list[int]) -> AsyncIterator[tuple[str, list[str]]]:
    """An API whose `ensure` loads the model on the rig, after it has given the statuses in `answers`."""
    asked: list[str] = []

    async def ensure(request: web.Request) -> web.Response:
        asked.append(request.match_info["model"])
        if request.headers.get("Authorization") != f"Bearer {token}":
            return web.Response(status=401)
        if answers:
            return web.Response(status=answers.pop(0))
        async with triton_aio.InferenceServerClient(rig.grpc_url) as client:
            await client.load_model(request.match_info["model"])
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/v1/models/{model}/ensure", ensure)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_ports().http
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}", asked
    finally:
        await runner.cleanup()


async def gateway_page(port: int) -> dict[str, float]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        text = await answer.text()
    return {
        f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_every_request_is_counted_told_each_second_and_shown_on_the_page(rig: TritonRig, tmp_path: Path) -> None:
    port = free_ports().metrics
    plan = LoadPlan(rig.grpc_url, {BERT: steady(80)}, 3.0, metrics_port=port)
    load = await LoadProcess.start(plan, tmp_path)
    told: list[dict[str, Any]] = []
    page: dict[str, float] = {}
    async for second in load.seconds():
        told.append(second)
        if len(told) == 2:
            page = await gateway_page(port)
    result = await load.wait(60)

    model = result["models"][BERT]
    assert model["sent"] == len(list(steady(80).arrivals(f"1/{BERT}", 3.0)))
    assert (model["ok"], model["failed"], model["unfinished"]) == (model["sent"], 0, 0)
    assert sum(window["sent"] for window in model["windows"]) == model["sent"]
    assert 0.003 < model["p50_s"] < 1
    sent_by_then = sum(second["models"][BERT]["sent"] for second in told[:2])
    assert page[f"gateway_requests_total{{200,{BERT}}}"] == pytest.approx(sent_by_then, abs=40)
    assert f"gateway_request_duration_seconds_bucket{{200,0.15,{BERT}}}" in page
    assert not any("_created" in name for name in page)


async def test_a_stalled_server_shows_in_the_latency_of_every_request_that_arrived_meanwhile(
    rig: TritonRig, tmp_path: Path
) -> None:
    load = await LoadProcess.start(LoadPlan(rig.grpc_url, {BERT: steady(50)}, 3.0), tmp_path)
    seconds = load.seconds()
    await anext(seconds)
    os.kill(rig.server_pid, signal.SIGSTOP)
    await asyncio.sleep(1.0)
    os.kill(rig.server_pid, signal.SIGCONT)
    result = (await load.wait(60))["models"][BERT]

    assert result["failed"] == 0
    assert result["p95_s"] > 0.7  # a third of the requests arrived in the stalled second, evenly over it
    assert result["p99_s"] < 3


async def test_a_model_that_is_not_loaded_is_woken_once_and_no_request_fails(rig: TritonRig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    async with control_plane(rig, token="hush", answers=[503]) as (api, asked):
        plan = LoadPlan(rig.grpc_url, {RESNET: steady(40)}, 4.0, api=api, token_file=str(tmp_path / "token"))
        load = await LoadProcess.start(plan, tmp_path / "load")
        result = (await load.wait(60))["models"][RESNET]

    assert asked == [RESNET, RESNET]  # the 503 and the one that did it, shared by all that waited
    assert (result["failed"], result["ok"]) == (0, result["sent"])
    assert 1 < result["while_unloaded"] < result["sent"]
    [wake_s] = result["wakes_s"]
    assert 0.25 < wake_s < 30


async def test_a_model_that_cannot_be_woken_fails_with_the_reason(rig: TritonRig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")
    async with control_plane(rig, token="hush", answers=[]) as (api, _):
        plan = LoadPlan(rig.grpc_url, {"absent": steady(20)}, 1.0, api=api, token_file=str(tmp_path / "token"))
        load = await LoadProcess.start(plan, tmp_path / "load")
        result = (await load.wait(60))["models"]["absent"]

    assert result["ok"] == 0
    assert result["errors"] == {"wake": result["sent"]}
    assert "HTTP 401" in result["error_samples"]["wake"][0]
    assert "wrong" not in str(result["error_samples"])


async def test_without_an_api_an_unloaded_model_is_a_failure_of_its_own_class(rig: TritonRig, tmp_path: Path) -> None:
    load = await LoadProcess.start(LoadPlan(rig.grpc_url, {"absent": steady(20)}, 1.0), tmp_path)
    result = (await load.wait(60))["models"]["absent"]

    assert result["errors"] == {"unloaded": result["sent"]}


async def test_stopping_flushes_the_result(rig: TritonRig, tmp_path: Path) -> None:
    load = await LoadProcess.start(LoadPlan(rig.grpc_url, {BERT: steady(50)}, 600.0), tmp_path)
    await anext(load.seconds())
    result = await load.stop()

    assert 0.9 < result["duration_s"] < 60
    assert result["requests"] == result["ok"] > 20


async def test_a_request_costs_little_more_than_it_costs_the_bare_client(rig: TritonRig, tmp_path: Path) -> None:
    tensor = triton_aio.InferInput("X", [1, 4], "FP32").set_data_from_numpy(np.arange(4, dtype=np.float32)[None])
    async with triton_aio.InferenceServerClient(rig.grpc_url) as client:
        await client.load_model(RESNET)
        before_s = time.process_time()
        for _ in range(300):
            await client.infer(BERT, [tensor])
        bare_s = (time.process_time() - before_s) / 300
    load = await LoadProcess.start(LoadPlan(rig.grpc_url, {BERT: steady(150), RESNET: steady(150)}, 4.0), tmp_path)
    result = await load.wait(60)

    assert result["failed"] == 0
    assert result["requests"] == pytest.approx(1200, abs=140)
    assert result["cpu_s"] / result["requests"] < 3 * bare_s
