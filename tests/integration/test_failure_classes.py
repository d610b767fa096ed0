"""Every class of failure raised on a real Triton: what it is taken for, what to do, and whether to try again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from prometheus_client import CollectorRegistry
from tritonclient.utils import InferenceServerException

from controlplane.act.failures import classify
from controlplane.act.retrying import RetryingActuator
from controlplane.act.triton import TritonActuator
from controlplane.demo.rig import TritonRig
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass as C
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

CONFIG = """backend: "python"
max_batch_size: 4
input [ { name: "X", data_type: TYPE_FP32, dims: [ 4 ] } ]
output [ { name: "SUM", data_type: TYPE_FP32, dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""
TENSORS = {
    "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [4]}],
    "output": [{"name": "SUM", "data_type": "TYPE_FP32", "dims": [1]}],
    "instance_group": [{"kind": "KIND_CPU", "count": 1}],
}
MODEL = """
import time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        INITIALIZE

    def execute(self, requests):
        EXECUTE
        return [pb.InferenceResponse([pb.Tensor("SUM", np.ones((1, 1), np.float32))]) for _ in requests]
"""
OOM = 'raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0)")'
QUEUE = """dynamic_batching { default_queue_policy {
  timeout_action: REJECT default_timeout_microseconds: 50000 max_queue_size: 1 } }
"""
ACCELERATED = 'optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" } ] } }\n'

FAILING_LOADS = {
    "missing": (C.MODEL_NOT_FOUND, "repository"),
    "misnamed": (C.INVALID_CONFIGURATION, "log"),
    "gpu_only": (C.INVALID_CONFIGURATION, "KIND_CPU"),
    "too_big": (C.OUT_OF_MEMORY, "fewer instances"),
    "no_backend": (C.BACKEND, "image"),
    "no_module": (C.BACKEND, "install"),
    "no_version": (C.VERSION_NOT_AVAILABLE, "version_policy"),
}
SILENT = {C.DYNAMIC_BATCHING_OFF: "set max_batch_size", C.ACCELERATION_FAILED: "remove optimization"}
RAISES, GROWS, SLEEPS = 2.0, 3.0, 4.0
BY_VALUE = f"""for request in requests:
            value = float(pb.get_input_tensor_by_name(request, "X").as_numpy().flat[0])
            if value == {RAISES}:
                raise ValueError("negative input")
            if value == {GROWS}:
                {OOM}
            if value == {SLEEPS}:
                time.sleep(0.4)"""


def write(repository: Path, name: str, config: str = CONFIG, initialize: str = "pass", execute: str = "pass") -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    (version / "model.py").write_text(MODEL.replace("INITIALIZE", initialize).replace("EXECUTE", execute))
    (version / "__pycache__").touch()


@pytest.fixture(scope="module")
def rig(module_triton_rig: RigFactory) -> TritonRig:
    made = module_triton_rig([], start=False)
    models = made.repository
    write(models, "sound", execute=BY_VALUE)
    write(models, "queued", CONFIG + QUEUE, execute=BY_VALUE)
    write(models, "misnamed", 'name: "other"\n' + CONFIG)
    write(models, "gpu_only", CONFIG.replace("KIND_CPU", "KIND_GPU"))
    write(models, "too_big", initialize=OOM)
    write(models, "no_backend", CONFIG.replace('"python"', '"nope"'))
    write(models, "no_module", initialize="import no_such_module")
    write(models, "no_version", CONFIG + "version_policy { specific { versions: [ 3 ] } }\n")
    silent = CONFIG.replace("size: 4", "size: 0") + "dynamic_batching { }\n" + ACCELERATED
    write(models, "silent", silent)
    made.start()
    return made


@pytest.fixture(scope="module")
def client(rig: TritonRig) -> Iterator[triton.InferenceServerClient]:
    connection = triton.InferenceServerClient(rig.grpc_url)
    for name in ("sound", "queued"):
        connection.load_model(name)
    yield connection
    connection.close()


class Tries:
    """Counts what is asked of a server."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0.0)


@asynccontextmanager
async def actuator_of(rig: TritonRig, tries: Tries) -> AsyncIterator[RetryingActuator]:
    server = ServerSpec("t0", ServerKind.TRITON, rig.http_url, rig.metrics_url, grpc=rig.grpc_url)
    inner = TritonActuator(Fleet((server,), ()), clock=lambda: 1000.0)
    actuator = RetryingActuator(inner, CollectorRegistry(), clock=lambda: 1000.0, sleep=tries.sleep)
    try:
        yield actuator
    finally:
        await actuator.close()


async def load(rig: TritonRig, model: str) -> tuple[Outcome, Tries]:
    tries = Tries()
    async with actuator_of(rig, tries) as actuator:
        return await actuator.apply(Action("d", model, "t0", Step.LOAD, Target(loaded=True, instances=1), 999.0)), tries


@pytest.mark.parametrize("model", FAILING_LOADS)
async def test_a_load_that_is_refused_has_its_class_and_remedy_and_is_not_tried_again_at_once(
    rig: TritonRig, model: str
) -> None:
    failure, remedy = FAILING_LOADS[model]
    outcome, tries = await load(rig, model)
    assert (outcome.status, outcome.failure, tries.waits) == (ActionStatus.FAILED, failure, []), outcome.detail
    assert remedy in outcome.remedy


async def test_what_triton_takes_without_a_word_is_told_with_its_class_and_remedy(rig: TritonRig) -> None:
    outcome, tries = await load(rig, "silent")
    assert (outcome.status, outcome.failure, tries.waits) == (ActionStatus.SUCCEEDED, None, [])
    for failure, remedy in SILENT.items():
        assert f"warning ({failure.value})" in outcome.detail
        assert remedy in outcome.detail


def tensor(
    value: float = 1.0, shape: tuple[int, ...] = (1, 4), kind: str = "FP32", name: str = "X"
) -> triton.InferInput:
    made = triton.InferInput(name, list(shape), kind)
    made.set_data_from_numpy(np.full(shape, value, dtype=np.float32 if kind == "FP32" else np.int32))
    return made


def in_region(name: str) -> triton.InferInput:
    made = triton.InferInput("X", [1, 4], "FP32")
    made.set_shared_memory(name, 16)
    return made


def answered(error: InferenceServerException) -> tuple[C, str]:
    return classify(str(error.message()), error.status() or "")


@pytest.mark.parametrize(
    ("model", "version", "given", "failure", "remedy"),
    [
        ("nobody", "", tensor(), C.MODEL_NOT_FOUND, "load"),
        ("sound", "7", tensor(), C.VERSION_NOT_AVAILABLE, "version"),
        ("sound", "", tensor(shape=(1, 5)), C.SHAPE_MISMATCH, "compare"),
        ("sound", "", tensor(kind="INT32"), C.SHAPE_MISMATCH, "compare"),
        ("sound", "", tensor(name="Z"), C.SHAPE_MISMATCH, "compare"),
        ("sound", "", tensor(shape=(5, 4)), C.SHAPE_MISMATCH, "compare"),
        ("sound", "", in_region("r0"), C.SHARED_MEMORY, "re-register"),
        ("sound", "", tensor(RAISES), C.BACKEND, "Python code"),
        ("sound", "", tensor(GROWS), C.OUT_OF_MEMORY, "smaller batch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_fails_has_its_class_and_remedy_and_no_retry_helps(
    client: triton.InferenceServerClient, model: str, version: str, given: triton.InferInput, failure: C, remedy: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [given], model_version=version)
    found, told = answered(caught.value)
    assert (found, found.transient) == (failure, False), caught.value
    assert remedy in told


def test_a_region_that_is_not_there_cannot_be_registered(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.register_system_shared_memory("r1", "/no_such_region", 16)
    found, told = answered(caught.value)
    assert found is C.SHARED_MEMORY
    assert "--ipc=host" in told


def test_requests_that_wait_too_long_or_find_the_queue_full_are_timeouts(client: triton.InferenceServerClient) -> None:
    answers: Queue[InferenceServerException | None] = Queue()
    for _ in range(12):
        client.async_infer("queued", [tensor(SLEEPS)], lambda result, error: answers.put(error))  # noqa: ARG005 - by name
    errors = [error for error in (answers.get(timeout=60) for _ in range(12)) if error is not None]
    with pytest.raises(InferenceServerException) as caught:
        client.infer("queued", [tensor(SLEEPS)], client_timeout=0.05)
    messages = {str(error.message()) for error in (*errors, caught.value)}
    assert any("Exceeds maximum queue size" in text for text in messages), messages
    assert any("Deadline Exceeded" in text for text in messages), messages
    for error in (*errors, caught.value):
        found, told = answered(error)
        assert (found, found.transient) == (C.TIMEOUT, False)
        assert "raise instances" in told


def until_served(client: triton.InferenceServerClient) -> None:
    """Return once a request is answered: what a client gave up is executed all the same."""
    for _ in range(100):
        try:
            client.infer("sound", [tensor()])
        except InferenceServerException:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nothing is answered")


def until_gone(connection: triton.InferenceServerClient, model: str) -> None:
    for _ in range(200):
        if not connection.is_model_ready(model):
            return
        time.sleep(0.05)
    pytest.fail(f"{model} stays")


async def test_a_dead_stub_is_a_backend_failure_that_a_reload_heals(
    rig: TritonRig, client: triton.InferenceServerClient
) -> None:
    until_served(client)
    for pid in rig.stub_pids("sound"):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("sound", [tensor()])
    found, told = answered(caught.value)
    assert (found, found.transient) == (C.BACKEND, False)
    assert "reload" in told
    tries = Tries()
    async with actuator_of(rig, tries) as actuator:
        step = Action("d", "sound", "t0", Step.RELOAD, Target(loaded=True, instances=1), 999.0)
        assert (await actuator.apply(step)).status is ActionStatus.SUCCEEDED
    until_served(client)


async def test_a_step_on_what_somebody_else_has_unloaded_meanwhile_is_superseded_and_not_tried_again_at_once(
    rig: TritonRig,
) -> None:
    with triton.InferenceServerClient(rig.grpc_url) as another:
        another.load_model("silent")
        another.unload_model("silent")
        await asyncio.to_thread(until_gone, another, "silent")
    tries = Tries()
    async with actuator_of(rig, tries) as actuator:
        target = Target(loaded=True, instances=1, versions=("1", "2"))
        outcome = await actuator.apply(Action("d", "silent", "t0", Step.SET_VERSIONS, target, 999.0))
    assert (outcome.status, outcome.failure, tries.waits) == (ActionStatus.FAILED, C.SUPERSEDED, [])
    assert "not loaded any more" in outcome.detail
    assert outcome.remedy


async def test_of_loads_of_one_model_that_overlap_none_fails(triton_rig: RigFactory) -> None:
    """Triton 2.51 was not heard to say that another overtook one, so that its words for it are from its source."""
    rig = triton_rig([], start=False)
    write(rig.repository, "slow", initialize="time.sleep(0.5)")
    rig.start()

    def ask(after_s: float, size: int) -> None:
        """A load with this batch size; an unload where it is 0."""
        time.sleep(after_s)
        with triton.InferenceServerClient(rig.grpc_url) as one:
            if size:
                one.load_model("slow", config=json.dumps({"backend": "python", "max_batch_size": size, **TENSORS}))
            else:
                one.unload_model("slow")

    await asyncio.gather(*(asyncio.to_thread(ask, 0.15 * at, size) for at, size in enumerate((8, 2, 0, 4))))
    ask(0.0, 16)
    with triton.InferenceServerClient(rig.grpc_url) as one:
        assert one.get_model_config("slow", as_json=True)["config"]["max_batch_size"] == 16


async def test_a_server_that_takes_no_orders_is_not_asked_twice(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False, mode="none")
    write(rig.repository, "sound")
    rig.start()
    outcome, tries = await load(rig, "sound")
    assert (outcome.failure, tries.waits) == (C.CONTROL_NOT_ALLOWED, []), outcome.detail
    assert "--model-control-mode=explicit" in outcome.remedy


async def test_a_server_that_is_away_is_asked_again_and_found_when_it_is_back(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False)
    write(rig.repository, "sound")
    rig.start()
    rig.kill()
    outcome, tries = await load(rig, "sound")
    assert (outcome.failure, len(tries.waits)) == (C.UNREACHABLE, 2)
    assert "address" in outcome.remedy

    class Comeback(Tries):
        async def sleep(self, seconds: float) -> None:
            await asyncio.to_thread(rig.start)
            await asyncio.sleep(1.5)  # gRPC tries a lost server again after 1.2 s at the latest
            await super().sleep(seconds)

    back = Comeback()
    async with actuator_of(rig, back) as actuator:
        step = Action("d", "sound", "t0", Step.LOAD, Target(loaded=True, instances=1), 999.0)
        outcome = await actuator.apply(step)
    assert (outcome.status, len(back.waits)) == (ActionStatus.SUCCEEDED, 1), outcome.detail
    assert outcome.detail.endswith("(try 2)")
