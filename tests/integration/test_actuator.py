"""The Triton actuator on a real Triton. A stub process that stays is an in-place update; a new one is a reload."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from controlplane.act.triton import TritonActuator
from controlplane.demo.rig import Ports, TritonRig, free_ports
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

BERT, RESNET = "bert_classifier", "resnet50_detector"
OK, FAILED = ActionStatus.SUCCEEDED, ActionStatus.FAILED

PYTHON_CONFIG = """backend: "python"
max_batch_size: 4
input [ { name: "X", data_type: TYPE_FP32, dims: [ 4 ] } ]
output [ { name: "SUM", data_type: TYPE_FP32, dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""
PYTHON_MODEL = """
import os, time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        instance = args["model_instance_name"]
        {initialize}

    def execute(self, requests):
        return [pb.InferenceResponse([pb.Tensor("SUM", np.ones((1, 1), np.float32))]) for _ in requests]
"""


def spec(ports: Ports) -> ServerSpec:
    return ServerSpec(
        "triton-0", ServerKind.TRITON, f"http://127.0.0.1:{ports.http}", "", grpc=f"127.0.0.1:{ports.grpc}"
    )


@asynccontextmanager
async def actuator_of(rig: TritonRig, **options: Any) -> AsyncIterator[TritonActuator]:
    actuator = TritonActuator(Fleet((spec(rig.ports),), ()), clock=lambda: 1000.0, **options)
    try:
        yield actuator
    finally:
        await actuator.close()


async def do(
    actuator: TritonActuator, step: Step, model: str, instances: int = 1, versions: tuple[str, ...] = ()
) -> Outcome:
    target = Target(loaded=step is not Step.UNLOAD, instances=0 if step is Step.UNLOAD else instances)
    target = replace(target, versions=versions)
    return await actuator.apply(Action("id", model, "triton-0", step, target, 999.0))


async def stubs(rig: TritonRig, model: str, count: int) -> set[int]:
    """The model's stub processes once there are `count` (an old one takes a moment to go)."""
    deadline = time.monotonic() + 60
    while True:
        pids = await asyncio.to_thread(rig.stub_pids, model)
        if len(pids) == count:
            return set(pids)
        assert time.monotonic() < deadline, f"{len(pids)} stubs of {model}, not {count}"
        await asyncio.sleep(0.05)


async def infer(rig: TritonRig, model: str, times: int = 1) -> None:
    client = triton.InferenceServerClient(rig.grpc_url)
    try:
        for _ in range(times):
            await client.infer(model, [row()], client_timeout=10)
    finally:
        await client.close()


def row() -> triton.InferInput:
    tensor = triton.InferInput("X", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), dtype=np.float32))
    return tensor


@asynccontextmanager
async def traffic(rig: TritonRig, model: str, at_once: int = 4) -> AsyncIterator[Counter[str]]:
    """Requests without a pause; counts "ok" and every error by its message."""
    answers: Counter[str] = Counter()
    client = triton.InferenceServerClient(rig.grpc_url)
    stop = asyncio.Event()

    async def one() -> None:
        while not stop.is_set():
            try:
                await client.infer(model, [row()], client_timeout=10)
                answers["ok"] += 1
            except InferenceServerException as error:
                answers[error.message()] += 1

    senders = [asyncio.create_task(one()) for _ in range(at_once)]
    try:
        yield answers
    finally:
        stop.set()
        await asyncio.gather(*senders)
        await client.close()


def write_model(repository: Path, name: str, *, config: str = PYTHON_CONFIG, initialize: str = "pass") -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    (version / "model.py").write_text(PYTHON_MODEL.format(initialize=initialize))
    (version / "__pycache__").touch()


async def test_a_model_is_loaded_scaled_unloaded_and_loaded_again(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT])
    async with actuator_of(rig) as actuator:
        assert await actuator.control_mode("triton-0") is ControlMode.EXPLICIT
        loaded = await do(actuator, Step.LOAD, BERT)
        assert (loaded.status, loaded.detail, loaded.finished_at) == (OK, "loaded with 1 instance", 1000.0)
        await infer(rig, BERT, 3)
        first = await stubs(rig, BERT, 1)

        raised = await do(actuator, Step.SET_INSTANCES, BERT, 3)
        assert (raised.status, raised.in_place, raised.detail) == (OK, True, "from 1 to 3 instances, in place")
        assert first < await stubs(rig, BERT, 3)

        logged = len(rig.log_text())
        again = await do(actuator, Step.SET_INSTANCES, BERT, 3)
        assert (again.status, again.detail) == (OK, "has 3 instances already")
        assert "loading" not in rig.log_text()[logged:], "a count that already is costs no call"

        lowered = await do(actuator, Step.SET_INSTANCES, BERT, 1)
        assert (lowered.status, lowered.in_place) == (OK, True)
        await stubs(rig, BERT, 1)

        for _ in range(2):
            unloaded = await do(actuator, Step.UNLOAD, BERT)
            assert (unloaded.status, unloaded.detail) == (OK, "unloaded")
        await stubs(rig, BERT, 0)

        reloaded = await do(actuator, Step.LOAD, BERT, 2)
        assert reloaded.status is OK
        assert "to 2 instances" in reloaded.detail
        await stubs(rig, BERT, 2)
        await infer(rig, BERT)


async def test_the_first_override_is_paid_for_after_the_load_so_that_scaling_is_in_place(
    triton_rig: RigFactory,
) -> None:
    rig = triton_rig([BERT], repository={"with_pycache_file": False})
    async with actuator_of(rig) as actuator:
        assert (await do(actuator, Step.LOAD, BERT)).status is OK
        (reloading,) = actuator._settling.values()
        async with traffic(rig, BERT) as answers:
            assert (await do(actuator, Step.SET_INSTANCES, BERT, 1)).detail == "has 1 instance already"
            assert reloading.done(), "the step waited for the background reload"
            paid = await stubs(rig, BERT, 1)
            outcome = await do(actuator, Step.SET_INSTANCES, BERT, 2)
            assert (outcome.status, outcome.in_place) == (OK, True)
            assert paid < await stubs(rig, BERT, 2)
        assert set(answers) == {"ok"}


async def test_a_full_reload_is_told_from_an_in_place_update(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT, RESNET], repository={"with_pycache_file": False}, load=[BERT, RESNET])
    async with actuator_of(rig) as actuator:
        await infer(rig, BERT, 5)
        old = await stubs(rig, BERT, 1)
        outcome = await do(actuator, Step.SET_INSTANCES, BERT, 2)
        assert (outcome.status, outcome.in_place) == (OK, False)
        assert "by a full reload" in outcome.detail
        assert not old & await stubs(rig, BERT, 2)
        unused = await do(actuator, Step.SET_INSTANCES, RESNET, 2)
        assert (unused.status, unused.in_place) == (OK, None)


async def test_steps_under_traffic_fail_no_request(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT, RESNET], load=[BERT])
    async with actuator_of(rig) as actuator, traffic(rig, BERT) as answers:
        steps = [(Step.SET_INSTANCES, BERT, 3), (Step.LOAD, RESNET, 1), (Step.RELOAD, BERT, 3)]
        for step, model, instances in [*steps, (Step.SET_INSTANCES, BERT, 1), (Step.UNLOAD, RESNET, 0)]:
            done = answers["ok"]
            outcome = await do(actuator, step, model, instances)
            assert outcome.status is OK, outcome.detail
            assert answers["ok"] > done
        await stubs(rig, BERT, 1)
    assert set(answers) == {"ok"}


async def test_failures_carry_their_class_and_remedy_and_the_old_version_serves_on(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], start=False)
    write_model(rig.repository, "misnamed", config='name: "other"\n' + PYTHON_CONFIG)
    write_model(rig.repository, "no_backend", config=PYTHON_CONFIG.replace('"python"', '"nope"'))
    write_model(rig.repository, "gpu_only", config=PYTHON_CONFIG.replace("KIND_CPU", "KIND_GPU"))
    out_of_memory = 'raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0)")'
    write_model(rig.repository, "too_big", initialize=out_of_memory)
    write_model(rig.repository, "fits_twice", initialize=f'if instance.endswith("_2"): {out_of_memory}')
    await asyncio.to_thread(rig.start)
    async with actuator_of(rig) as actuator:
        for model, failure, remedy in [
            ("missing", FailureClass.MODEL_NOT_FOUND, "repository"),
            ("misnamed", FailureClass.INVALID_CONFIGURATION, "log"),
            ("no_backend", FailureClass.BACKEND, "image"),
            ("gpu_only", FailureClass.INVALID_CONFIGURATION, "KIND_CPU"),
            ("too_big", FailureClass.OUT_OF_MEMORY, "fewer instances"),
        ]:
            outcome = await do(actuator, Step.LOAD, model)
            assert (outcome.status, outcome.failure) == (FAILED, failure), outcome
            assert remedy in outcome.remedy
            assert model in outcome.detail
        not_loaded = await do(actuator, Step.SET_INSTANCES, BERT, 2)
        assert (not_loaded.status, not_loaded.failure) == (FAILED, FailureClass.MODEL_NOT_FOUND)

        assert (await do(actuator, Step.LOAD, "fits_twice", 2)).status is OK
        too_many = await do(actuator, Step.SET_INSTANCES, "fits_twice", 4)
        assert (too_many.status, too_many.failure) == (FAILED, FailureClass.OUT_OF_MEMORY)
        await stubs(rig, "fits_twice", 2)
        await infer(rig, "fits_twice", 4)
        assert (await do(actuator, Step.SET_INSTANCES, "fits_twice", 2)).detail == "has 2 instances already"


async def test_a_version_beside_an_old_one_that_is_gone_from_the_repository_fails_and_something_serves_on(
    triton_rig: RigFactory,
) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "m")
    rig.start()
    async with actuator_of(rig) as actuator, triton.InferenceServerClient(rig.grpc_url) as client:
        assert (await do(actuator, Step.LOAD, "m")).status is OK
        await asyncio.wait(actuator._settling.values())
        (rig.repository / "m" / "1").rename(rig.repository / "m" / "2")
        outcome = await do(actuator, Step.SET_VERSIONS, "m", versions=("1", "2"))
        assert (outcome.failure, outcome.detail) == (
            FailureClass.VERSION_NOT_AVAILABLE,
            "version 1 of m is not in the model repository",
        )
        assert await client.is_model_ready("m")


@pytest.mark.parametrize("step", [Step.SET_INSTANCES, Step.RELOAD])
async def test_in_a_rollout_a_step_brings_no_version_that_came_to_the_repository_meanwhile(
    triton_rig: RigFactory, step: Step
) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "m")
    rig.start()
    async with actuator_of(rig) as actuator, triton.InferenceServerClient(rig.grpc_url) as client:
        assert (await do(actuator, Step.LOAD, "m", versions=("1",))).status is OK
        shutil.copytree(rig.repository / "m" / "1", rig.repository / "m" / "2")
        outcome = await do(actuator, step, "m", 2, versions=("1",))
        assert outcome.status is OK, outcome
        await stubs(rig, "m", 2)
        assert [await client.is_model_ready("m", version) for version in "12"] == [True, False]


async def test_a_model_put_into_the_repository_later_is_found(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT])
    async with actuator_of(rig) as actuator:
        assert (await do(actuator, Step.LOAD, "late")).failure is FailureClass.MODEL_NOT_FOUND
        write_model(rig.repository, "late")
        assert (await do(actuator, Step.LOAD, "late")).status is OK


@pytest.mark.parametrize("mode", ["none", "poll"])
async def test_a_server_not_in_explicit_mode_says_so_once_and_clearly(triton_rig: RigFactory, mode: str) -> None:
    rig = triton_rig([BERT], mode=mode)
    async with actuator_of(rig) as actuator:
        assert await actuator.control_mode("triton-0") is ControlMode.NOT_ALLOWED
        for step in (Step.LOAD, Step.SET_INSTANCES, Step.UNLOAD, Step.RELOAD):
            outcome = await do(actuator, step, BERT, 2)
            assert (outcome.status, outcome.failure) == (FAILED, FailureClass.CONTROL_NOT_ALLOWED)
            assert "--model-control-mode=explicit" in outcome.remedy
        await infer(rig, BERT)


@pytest.mark.parametrize("dead", [1, 3])
async def test_killed_stubs_are_healed_by_a_reload_with_the_count_of_before(triton_rig: RigFactory, dead: int) -> None:
    rig = triton_rig([BERT])
    async with actuator_of(rig) as actuator:
        await do(actuator, Step.LOAD, BERT, 3)
        old = await stubs(rig, BERT, 3)
        async with traffic(rig, BERT, at_once=12) as answers:
            for pid in sorted(old)[:dead]:
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(1.5)
            assert any("not healthy" in message for message in answers)
            assert (await do(actuator, Step.LOAD, BERT, 3)).status is OK, "a plain load is no error and heals nothing"
            outcome = await do(actuator, Step.RELOAD, BERT, 3)
            assert (outcome.status, outcome.in_place) == (OK, False)
            assert outcome.detail == "reloaded with 3 instances"
        await infer(rig, BERT, 12)
        alive = set(await asyncio.to_thread(rig.stub_pids, BERT)) - old
        assert len(alive) == 3
        scaled = await do(actuator, Step.SET_INSTANCES, BERT, 4)
        assert (scaled.status, scaled.in_place) == (OK, True)


async def test_a_stub_that_hangs_is_healed_by_a_reload_too(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT])
    async with actuator_of(rig) as actuator:
        await do(actuator, Step.LOAD, BERT, 1)
        (stopped,) = await stubs(rig, BERT, 1)
        await infer(rig, BERT)
        os.kill(stopped, signal.SIGSTOP)
        hanging = asyncio.create_task(infer(rig, BERT))
        try:
            outcome = await do(actuator, Step.RELOAD, BERT, 2)
            assert outcome.status is OK, outcome.detail
            await infer(rig, BERT, 4)
        finally:
            os.kill(stopped, signal.SIGKILL)
            await asyncio.gather(hanging, return_exceptions=True)


async def test_an_unload_that_does_not_happen_times_out_and_a_load_still_works(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT])
    async with actuator_of(rig, unload_timeout_s=1.5) as actuator:
        await do(actuator, Step.LOAD, BERT)
        for pid in await stubs(rig, BERT, 1):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(InferenceServerException, match="not healthy"):
            await infer(rig, BERT)
        outcome = await do(actuator, Step.UNLOAD, BERT)
        assert (outcome.status, outcome.failure) == (FAILED, FailureClass.TIMEOUT)
        assert "UNLOADING 1.5 s after" in outcome.detail
        assert "dead stub" in outcome.remedy
        for step in (Step.RELOAD, Step.LOAD):
            assert (await do(actuator, step, BERT)).status is OK
        await infer(rig, BERT)


async def test_a_load_that_takes_too_long_is_a_timeout_and_the_server_goes_on(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", initialize="time.sleep(2)")
    await asyncio.to_thread(rig.start)
    async with actuator_of(rig, load_timeout_s=0.5) as hasty, actuator_of(rig) as patient:
        outcome = await do(hasty, Step.LOAD, "slow")
        assert (outcome.status, outcome.failure) == (FAILED, FailureClass.TIMEOUT)
        assert "slow is not loaded after 0.5 s" in outcome.detail
        assert "by itself" in outcome.remedy
        assert (await do(patient, Step.LOAD, "slow")).status is OK
        await infer(rig, "slow")
    assert rig.log_text().count("TRITONBACKEND_ModelInstanceInitialize: slow") == 1


async def test_a_server_killed_in_the_middle_of_a_load_is_unreachable_and_found_again(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", initialize="time.sleep(2)")
    await asyncio.to_thread(rig.start)
    async with actuator_of(rig) as actuator:
        loading = asyncio.create_task(do(actuator, Step.LOAD, "slow"))
        async with asyncio.timeout(60):
            while "TRITONBACKEND_ModelInstanceInitialize: slow" not in rig.log_text():  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.05)
        assert not loading.done()
        await asyncio.to_thread(rig.kill)
        async with asyncio.timeout(30):
            outcome = await loading
        assert (outcome.status, outcome.failure) == (FAILED, FailureClass.UNREACHABLE), outcome
        assert "triton-0" in outcome.detail
        with pytest.raises(TargetUnreachableError, match="triton-0"):
            await actuator.control_mode("triton-0")
        assert (await do(actuator, Step.UNLOAD, "slow")).failure is FailureClass.UNREACHABLE
        await asyncio.to_thread(rig.start)
        await asyncio.sleep(1.5)  # gRPC tries a lost server again after 1.2 s at the latest
        outcome = await do(actuator, Step.LOAD, "slow")
        assert outcome.status is OK, outcome.detail


async def test_closing_in_the_middle_of_background_work_leaves_nothing_behind(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], repository={"with_pycache_file": False})
    async with actuator_of(rig) as actuator:
        await do(actuator, Step.LOAD, BERT)
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [task for task in others if "settle" in task.get_name()]
    await infer(rig, BERT)


async def test_a_step_for_a_server_that_is_not_there_is_an_outcome(unused_ports: Ports) -> None:
    actuator = TritonActuator(Fleet((spec(unused_ports),), ()), clock=lambda: 1000.0)
    try:
        for step in (Step.LOAD, Step.SET_INSTANCES, Step.UNLOAD, Step.RELOAD):
            outcome = await do(actuator, step, BERT)
            assert (outcome.status, outcome.failure) == (FAILED, FailureClass.UNREACHABLE)
            assert "address" in outcome.remedy
    finally:
        await actuator.close()


@pytest.fixture
def unused_ports() -> Ports:
    return free_ports()


def channels(actuator: TritonActuator) -> int:
    """Connections that are open, in use or being closed."""
    return len(actuator._connections) + len(actuator._closing)


async def test_a_step_under_way_on_a_server_that_leaves_comes_to_its_end(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", initialize="time.sleep(2)")
    rig.start()
    async with actuator_of(rig) as actuator:
        step = asyncio.create_task(do(actuator, Step.LOAD, "slow"))
        await asyncio.sleep(0.5)
        actuator.follow(Fleet((), ()))
        outcome = await step
        assert outcome.status is OK, outcome.detail
        with pytest.raises(NotFoundError):
            await actuator.control_mode("triton-0")
        assert channels(actuator) == 0
        actuator.follow(Fleet((spec(rig.ports),), ()))
        assert await actuator.control_mode("triton-0") is ControlMode.EXPLICIT


async def test_one_that_moved_is_asked_at_its_new_address(triton_rig: RigFactory, unused_ports: Ports) -> None:
    rig = triton_rig([BERT])
    actuator = TritonActuator(Fleet((spec(unused_ports),), ()), clock=lambda: 1000.0)
    try:
        with pytest.raises(TargetUnreachableError):
            await actuator.control_mode("triton-0")
        actuator.follow(Fleet((spec(rig.ports),), ()))
        assert await actuator.control_mode("triton-0") is ControlMode.EXPLICIT
        connection = actuator._connections["triton-0"]
        actuator.follow(Fleet((spec(rig.ports),), ()))
        assert actuator._connections["triton-0"] is connection, "one that stays keeps its connection"
    finally:
        await actuator.close()
