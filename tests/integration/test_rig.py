"""The rig and the demo models on a real Triton."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from controlplane.demo.models_repo import write_repository
from controlplane.demo.rig import Ports, TritonRig, free_ports
from controlplane.demo.rig_errors import RigError
from controlplane.demo.rig_setup import RigEnvironment
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

BERT, RESNET, DEEPFM = "bert_classifier", "resnet50_detector", "deepfm_recommender"


@contextlib.contextmanager
def client_of(rig: TritonRig) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(rig.grpc_url)
    try:
        yield client
    finally:
        client.close()


def row(*values: float) -> list[triton.InferInput]:
    tensor = triton.InferInput("X", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([values], dtype=np.float32))
    return [tensor]


def infer(client: triton.InferenceServerClient, model: str) -> float:
    return float(client.infer(model, row(1, 2, 3, 4)).as_numpy("SUM")[0, 0])


def set_count(client: triton.InferenceServerClient, model: str, count: int) -> None:
    config = client.get_model_config(model, as_json=True)["config"]
    config["instance_group"][0]["count"] = count
    client.load_model(model, config=json.dumps(config))


async def saturate(rig: TritonRig, model: str, seconds: float, at_once: int = 48) -> float:
    """Answers per second with `at_once` requests always in flight."""
    done = 0
    end = time.perf_counter() + seconds

    async with triton_aio.InferenceServerClient(rig.grpc_url) as client:

        async def one_client() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await client.infer(model, row(1, 2, 3, 4))
                done += 1

        await asyncio.gather(*(one_client() for _ in range(at_once)))
    return done / seconds


def gone_within(timeout_s: float, gone: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + timeout_s
    while not gone():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead but not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def regions(prefix: str) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"{prefix}*")]  # noqa: S108 (POSIX shared memory)


@pytest.fixture(scope="module")
def shared(module_triton_rig: RigFactory) -> TritonRig:
    return module_triton_rig(repository={"time_scale": 0.5, "fail_if_input_negative": True}, load=(BERT, RESNET))


def test_every_model_answers_with_the_sum_of_its_row(shared: TritonRig) -> None:
    with client_of(shared) as client:
        client.load_model(DEEPFM)
        assert [infer(client, model) for model in (BERT, RESNET, DEEPFM)] == [10.0, 10.0, 10.0]
        client.unload_model(DEEPFM)
    assert f"successfully loaded '{DEEPFM}'" in shared.log_text()


def test_concurrent_requests_are_batched_and_take_the_published_line(shared: TritonRig) -> None:
    asyncio.run(saturate(shared, BERT, 1.0, at_once=16))
    with client_of(shared) as client:
        stats = client.get_inference_statistics(BERT, as_json=True)["model_stats"][0]

    assert int(stats["execution_count"]) < int(stats["inference_count"]) / 3
    full = next(batch for batch in stats["batch_stats"] if int(batch["batch_size"]) == 8)
    mean_ms = int(full["compute_infer"]["ns"]) / int(full["compute_infer"]["count"]) / 1e6
    assert mean_ms == pytest.approx(0.5 * (2.58 + 13.691 * 8), rel=0.15)


def test_models_wait_and_do_not_burn_the_processor(shared: TritonRig) -> None:
    [stub] = shared.stub_pids(BERT)

    def cpu_s() -> float:
        times = Path(f"/proc/{stub}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    asyncio.run(saturate(shared, BERT, 1.0, at_once=8))
    assert cpu_s() - before < 0.2


def test_a_model_can_be_made_to_fail(shared: TritonRig) -> None:
    with client_of(shared) as client, pytest.raises(InferenceServerException, match="negative input"):
        client.infer(BERT, row(-1, 0, 0, 0))


def test_the_stubs_of_a_model_are_found_one_per_instance(shared: TritonRig) -> None:
    with client_of(shared) as client:
        set_count(client, BERT, 2)
        first, second = shared.stub_pids(BERT)
        assert alive(first)
        assert alive(second)
        set_count(client, BERT, 1)
        assert len(shared.stub_pids(BERT)) == 1
        assert len(shared.stub_pids(RESNET)) == 1


def test_instances_on_one_gpu_stop_helping_once_its_lock_is_always_held(shared: TritonRig) -> None:
    per_s = {}
    with client_of(shared) as client:
        for count in (1, 2, 4):
            set_count(client, RESNET, count)
            asyncio.run(saturate(shared, RESNET, 0.3))  # the new instances' first executions are slow
            per_s[count] = asyncio.run(saturate(shared, RESNET, 1.5))

    assert per_s[2] > 1.3 * per_s[1]
    assert per_s[4] < 1.25 * per_s[2]


@pytest.mark.parametrize("with_file", [True, False])
def test_the_first_override_is_in_place_only_with_the_pycache_file(triton_rig: RigFactory, with_file: bool) -> None:
    rig = triton_rig([BERT], repository={"with_pycache_file": with_file}, load=(BERT,))
    [first] = rig.stub_pids(BERT)
    with client_of(rig) as client:
        mark = len(rig.log_text())
        set_count(client, BERT, 2)
        said = rig.log_text()[mark:]
        assert f"TRITONBACKEND_ModelInstanceInitialize: {BERT}_0_1" in said
        in_place = f"TRITONBACKEND_ModelInstanceInitialize: {BERT}_0_0" not in said
        assert in_place == with_file
        assert gone_within(30, lambda: len(rig.stub_pids(BERT)) == 2)
        assert (first in rig.stub_pids(BERT)) == with_file

        kept = rig.stub_pids(BERT)
        set_count(client, BERT, 3)
    assert set(kept) < set(rig.stub_pids(BERT))  # later ones are in place either way


def test_stop_leaves_no_process_and_no_shared_memory(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], load=(BERT,))
    pids = [rig.server_pid, *rig.stub_pids(BERT)]
    assert len(pids) == 2
    assert regions(rig.shm_prefix)

    rig.stop()

    assert not any(map(alive, pids))
    assert regions(rig.shm_prefix) == []
    assert not rig.running
    rig.stop()  # again is no error


def test_a_killed_server_comes_back_on_the_same_ports(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT])
    with client_of(rig) as client:
        client.load_model(BERT)
        ports, stubs = rig.ports, rig.stub_pids(BERT)

        rig.kill()
        assert not any(map(alive, stubs))
        assert regions(rig.shm_prefix) == []
        rig.start()

        assert rig.ports == ports
        assert gone_within(30, client.is_server_live)  # the same connection
        assert not client.is_model_ready(BERT)


def test_a_server_that_is_killed_by_others_leaves_no_stub(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], load=(BERT,))
    stubs = rig.stub_pids(BERT)

    os.kill(rig.server_pid, signal.SIGKILL)

    assert gone_within(30, lambda: not rig.running and not any(map(alive, stubs)) and not regions(rig.shm_prefix))


_CHILD = """
import signal, sys, time
from pathlib import Path
from controlplane.demo.rig import TritonRig
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background is to ignore it
with TritonRig(Path(sys.argv[1]), load=("bert_classifier",)) as rig:
    print(rig.server_pid, *rig.stub_pids("bert_classifier"), rig.shm_prefix, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_server_goes_when_its_owner_is_killed_or_interrupted(
    rig_environment: RigEnvironment, tmp_path: Path, number: signal.Signals
) -> None:
    write_repository(tmp_path / "models", tmp_path / "gpu", [BERT])
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path / "models")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        *pids, prefix = owner.stdout.readline().split()
        assert len(pids) == 2
        assert all(alive(int(pid)) for pid in pids)

        os.killpg(owner.pid, number)  # as a terminal's Ctrl-C does: to the whole foreground group

        assert gone_within(30, lambda: not any(alive(int(pid)) for pid in pids))
        assert gone_within(30, lambda: regions(prefix) == [])


def test_poll_and_none_mode_load_the_repository_by_themselves(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], mode="none")
    with client_of(rig) as client:
        assert client.is_model_ready(BERT)
        with pytest.raises(InferenceServerException, match="not allowed"):
            client.unload_model(BERT)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], start=False, load=("absent",))

    with pytest.raises(RigError, match="absent"):
        rig.start()
    assert not rig.running


def test_a_taken_port_is_an_error_when_the_ports_are_given(triton_rig: RigFactory) -> None:
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports.http)):
        rig = triton_rig([BERT], start=False, ports=Ports(ports.http, ports.grpc, ports.metrics))
        with pytest.raises(RigError, match="ended before it was live"):
            rig.start()
