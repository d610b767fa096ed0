"""What docs/why/triton-facts.md says about Triton, on a real one. A fact that changes with a version fails here."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from controlplane.demo.rig import TritonRig
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

BERT = "bert_classifier"
CONFIG = """backend: "python"
max_batch_size: 1
input [ { name: "X", data_type: TYPE_FP32, dims: [ 4 ] } ]
output [ { name: "SUM", data_type: TYPE_FP32, dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""
MODEL = """
import time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        time.sleep(LOAD_S)

    def execute(self, requests):
        time.sleep(TAKES_S)
        return [pb.InferenceResponse([pb.Tensor("SUM", np.ones((1, 1), np.float32))]) for _ in requests]
"""
INFERENCE = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


def write_model(repository: Path, name: str, *, load_s: float = 0.0, takes_s: float = 0.0, config: str = "") -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIG + config)
    (version / "model.py").write_text(MODEL.replace("LOAD_S", f"{load_s}").replace("TAKES_S", f"{takes_s}"))


def row() -> list[triton.InferInput]:
    tensor = triton.InferInput("X", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), dtype=np.float32))
    return [tensor]


@pytest.fixture
def bert(triton_rig: RigFactory) -> TritonRig:
    return triton_rig([BERT], load=(BERT,))


@pytest.fixture
def client(bert: TritonRig) -> Iterator[triton.InferenceServerClient]:
    connection = triton.InferenceServerClient(bert.grpc_url)
    yield connection
    connection.close()


def count_of(client: triton.InferenceServerClient, model: str) -> int:
    groups = client.get_model_config(model, as_json=True)["config"]["instance_group"]
    return sum(int(group["count"]) for group in groups)


def with_count(client: triton.InferenceServerClient, model: str, count: int) -> str:
    config = client.get_model_config(model, as_json=True)["config"]
    config["instance_group"][0]["count"] = count
    return json.dumps(config)


def state_of(client: triton.InferenceServerClient, model: str) -> str:
    return next(str(row.state) for row in client.get_model_repository_index().models if row.name == model)


def test_an_unload_answers_long_before_the_model_is_gone(client: triton.InferenceServerClient) -> None:
    client.unload_model(BERT)
    assert state_of(client, BERT) == "UNLOADING"
    with pytest.raises(InferenceServerException, match=r"Request for unknown model: .* has no available versions"):
        client.infer(BERT, row())
    ends = time.monotonic() + 30
    while state_of(client, BERT) != "UNAVAILABLE":
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_restart_forgets_what_was_loaded_and_every_override(
    bert: TritonRig, client: triton.InferenceServerClient
) -> None:
    client.load_model(BERT, config=with_count(client, BERT, 3))
    assert count_of(client, BERT) == 3
    client.load_model(BERT)
    assert count_of(client, BERT) == 3, "a plain load keeps the override"

    bert.restart()  # the rig names the model in --load-model

    with triton.InferenceServerClient(bert.grpc_url) as fresh:
        assert count_of(fresh, BERT) == 1


def test_a_model_with_a_dead_stub_stays_ready_and_a_plain_load_heals_nothing(
    bert: TritonRig, client: triton.InferenceServerClient
) -> None:
    for pid in bert.stub_pids(BERT):
        os.kill(pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(InferenceServerException, match="not healthy"):
            client.infer(BERT, row())
        assert client.is_model_ready(BERT)
        assert state_of(client, BERT) == "READY"
        client.load_model(BERT)


def test_requests_that_find_a_full_queue_are_counted_nowhere(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False, load=("narrow",))
    queue = "dynamic_batching { default_queue_policy { max_queue_size: 2 } }"
    write_model(rig.repository, "narrow", takes_s=0.3, config=queue)
    rig.start()

    async def ask() -> list[str]:
        async with triton_aio.InferenceServerClient(rig.grpc_url) as asking:
            answers = await asyncio.gather(*(asking.infer("narrow", row()) for _ in range(12)), return_exceptions=True)
        return [str(answer) for answer in answers if isinstance(answer, BaseException)]

    refused = asyncio.run(ask())
    assert refused
    assert all("Exceeds maximum queue size" in message for message in refused)
    deadline = time.monotonic() + 30
    while (counted := counts(rig, "narrow"))["success"] < 12 - len(refused):  # counted just after it is answered
        assert time.monotonic() < deadline, counted
        time.sleep(0.05)
    assert counted == {"success": 12 - len(refused), "failure": 0}


def counts(rig: TritonRig, model: str) -> dict[str, float]:
    """The model's requests on the metrics page, by how they ended."""
    with urllib.request.urlopen(rig.metrics_url) as page:
        lines = [line for line in page.read().decode().splitlines() if f'model="{model}"' in line]
    return {
        kind: sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"nv_inference_request_{kind}{{"))
        for kind in ("success", "failure")
    }


async def test_only_the_page_of_a_model_says_that_it_is_not_loaded_yet(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", load_s=3.0)
    await asyncio.to_thread(rig.start)
    async with aiohttp.ClientSession() as http, triton_aio.InferenceServerClient(rig.grpc_url) as grpc:

        async def said() -> tuple[int, int]:
            async with (
                http.get(f"{rig.http_url}/v2/health/ready") as server,
                http.get(f"{rig.http_url}/v2/models/slow/ready") as model,
            ):
                return server.status, model.status

        assert await said() == (200, 400), "a server without any model is ready"
        loading = asyncio.create_task(grpc.load_model("slow"))
        await until_loading(grpc, "slow")
        assert await said() == (400, 400), "nor is one that loads a model"
        await loading
        assert await said() == (200, 200)
        answered = await grpc.infer("slow", row())
        assert answered.as_numpy("SUM").tolist() == [[1.0]]


async def until_loading(client: triton_aio.InferenceServerClient, model: str) -> None:
    async with asyncio.timeout(30):
        states: set[tuple[str, str]] = set()
        while (model, "LOADING") not in states:
            await asyncio.sleep(0.01)
            states = {(row.name, row.state) for row in (await client.get_model_repository_index()).models}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_load_over_http_stalls_other_requests_and_one_over_grpc_does_not(
    triton_rig: RigFactory, protocol: str
) -> None:
    # One HTTP thread makes it certain; with more of them those requests stall whose connection has the same thread.
    rig = triton_rig([BERT], start=False, load=(BERT,), extra_args=("--http-thread-count=1",))
    write_model(rig.repository, "slow", load_s=2.0)
    await asyncio.to_thread(rig.start)
    answered = 0
    async with aiohttp.ClientSession() as http, triton_aio.InferenceServerClient(rig.grpc_url) as grpc:

        async def load() -> None:
            if protocol == "grpc":
                await grpc.load_model("slow")
            else:
                async with http.post(f"{rig.http_url}/v2/repository/models/slow/load", json={}) as answer:
                    assert answer.status == 200

        loading = asyncio.create_task(load())
        await until_loading(grpc, "slow")
        while not loading.done():
            async with http.post(f"{rig.http_url}/v2/models/{BERT}/infer", json=INFERENCE) as answer:
                assert answer.status == 200
            answered += 1
        await loading
    assert answered <= 2 if protocol == "http" else answered > 4


@asynccontextmanager
async def backlog(rig: TritonRig, at_once: int = 80) -> AsyncIterator[None]:
    """More requests in flight all the time than all instances of the model can execute."""
    stop = asyncio.Event()
    async with triton_aio.InferenceServerClient(rig.grpc_url) as client:

        async def one() -> None:
            while not stop.is_set():
                await client.infer(BERT, row())

        senders = [asyncio.create_task(one()) for _ in range(at_once)]
        await asyncio.sleep(0.5)
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*senders)


async def stubs_within(rig: TritonRig, count: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while len(await asyncio.to_thread(rig.stub_pids, BERT)) != count:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def executions(client: triton_aio.InferenceServerClient) -> int:
    answer = await client.get_inference_statistics(BERT)
    return int(answer.model_stats[0].inference_count)


async def test_an_update_under_backlog_works_at_once_and_returns_once_the_queue_was_empty(bert: TritonRig) -> None:
    with triton.InferenceServerClient(bert.grpc_url) as client:
        three, four = with_count(client, BERT, 3), with_count(client, BERT, 4)

        async with triton_aio.InferenceServerClient(bert.grpc_url) as asking:
            async with backlog(bert):
                before = await executions(asking)
                await asyncio.sleep(1.5)
                one_instance = await executions(asking) - before

                raising = asyncio.create_task(asking.load_model(BERT, config=three))
                assert await stubs_within(bert, 3, 30.0)
                await asyncio.sleep(0.5)
                before = await executions(asking)
                await asyncio.sleep(1.5)
                assert await executions(asking) - before > 2 * one_instance, "the added instances serve"

                again = asyncio.create_task(asking.load_model(BERT, config=four))
                await asyncio.sleep(1.5)
                assert not raising.done()
                assert not again.done()
                assert len(await asyncio.to_thread(bert.stub_pids, BERT)) == 3, "the second update waits"
                assert await asyncio.to_thread(count_of, client, BERT) == 1, "the old count is shown"
            await asyncio.wait_for(asyncio.gather(raising, again), 30)
            assert await asyncio.to_thread(count_of, client, BERT) == 4


async def test_with_the_rate_limiter_on_an_update_under_backlog_returns_at_once(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], load=(BERT,), extra_args=("--rate-limit=execution_count",))
    with triton.InferenceServerClient(rig.grpc_url) as client:
        async with triton_aio.InferenceServerClient(rig.grpc_url) as asking, backlog(rig):
            for count in (3, 4):
                config = await asyncio.to_thread(with_count, client, BERT, count)
                await asyncio.wait_for(asking.load_model(BERT, config=config), 30)
                assert await asyncio.to_thread(count_of, client, BERT) == count
