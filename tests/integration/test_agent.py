"""`controlplane agent` as a process over HTTP, with the NVML shim below it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlplane.collect.fleet import FleetCollector
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import Known, Missing
from controlplane.domain.sources import AgentSpec
from tests.integration.test_collect_gpm import LATER
from tests.integration.test_collect_processes import IDLE, parent
from tests.nvml_shim.drive import CUT, GPU, HOPPER, HOPPER_CUT, ROOT, Reader, answer, build, environment

HAS_DRIVER = Path("/dev/nvidiactl").exists()
COMMAND = [sys.executable, "-c", "from controlplane.cli.entry import main; main()", "agent"]


class Running:
    """An agent; `url` is its page."""

    def __init__(self, env: dict[str, str], log: Path, *more: str) -> None:
        with log.open("w") as stderr:
            command = [*COMMAND, "--port", "0", "--timeout", "3", *more]
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"agent (http://127\.0\.0\.1:\d+/metrics)\n", line)
        assert found, line + log.read_text()
        self.url = found[1]

    def page(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """The samples by name."""
        with urllib.request.urlopen(self.url, timeout=30) as response:
            assert response.status == 200
            text = response.read().decode()
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status after the signal."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def agent(env: dict[str, str], folder: Path, *more: str) -> Iterator[Running]:
    running = Running(env, folder / "log", *more)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        assert running.process.stdout is not None
        running.process.stdout.close()


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def running(shim: Path, answers: Path, tmp_path: Path) -> Iterator[Running]:
    answer(answers, GPU)
    with agent(environment(shim, answers), tmp_path) as started:
        yield started


def test_the_page_follows_what_nvml_says(running: Running, answers: Path) -> None:
    whole = running.page()
    assert whole["controlplane_agent_nvml_up"] == [({"reason": ""}, 1.0)]
    assert whole["controlplane_gpu_utilisation_ratio"] == [({"node": "", "gpu": "GPU-aaaa"}, 0.37)]
    assert "controlplane_gpu_slice_info" not in whole
    answer(answers, CUT)
    cut = running.page()
    profiles = [labels["profile"] for labels, _ in cut["controlplane_gpu_slice_info"]]
    assert profiles == ["3g.71gb", "1g.18gb"]
    assert "controlplane_gpu_utilisation_ratio" not in cut
    missing = {(label["slice"], label["signal"]): label["reason"] for label, _ in cut["controlplane_gpu_missing"]}
    assert missing["", "utilisation"] == "not told while MIG is on"
    assert missing["MIG-0000", "sm_utilisation"] == "only Hopper and later GPUs tell it"
    assert missing["MIG-0000", "ports of 4194403"] == "no such process on this machine"


def test_a_driver_that_goes_away_and_comes_back_is_told(running: Running, answers: Path) -> None:
    running.page()
    answer(answers, {"init": "!9", "count": "!9"})
    gone = running.page()
    assert gone == {"controlplane_agent_nvml_up": [({"reason": "the NVIDIA driver is not loaded"}, 0.0)]}
    answer(answers, GPU)
    assert running.page()["controlplane_agent_nvml_up"][0][1] == 1.0


def test_a_call_that_hangs_costs_its_deadline_once_and_does_not_keep_the_agent_from_ending(
    running: Running, answers: Path
) -> None:
    answer(answers, GPU | {"power.0": "hang"})
    assert running.page() == {"controlplane_agent_nvml_up": [({"reason": "NVML: no answer within 3 s"}, 0.0)]}
    (sample,) = running.page()["controlplane_agent_nvml_up"]
    assert sample == ({"reason": "NVML: an earlier call still hangs"}, 0.0)
    assert running.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_a_driver_the_page_says_so_and_the_end_is_a_normal_one(tmp_path: Path, number: signal.Signals) -> None:
    if HAS_DRIVER:
        pytest.skip("this machine has an NVIDIA driver")
    with agent(dict(os.environ), tmp_path) as started:
        reason = "no NVIDIA driver on this machine (libnvidia-ml.so.1 not found)"
        assert started.page() == {"controlplane_agent_nvml_up": [({"reason": reason}, 0.0)]}
        assert started.end(number) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_address_that_is_taken_is_told_in_one_line(running: Running) -> None:
    port = running.url.rpartition(":")[2].partition("/")[0]
    ended = subprocess.run(
        [*COMMAND, "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("Address already in use; choose another --host or --port")
    assert "Traceback" not in ended.stderr


def test_the_shares_on_the_page_are_those_since_the_request_before(running: Running, answers: Path) -> None:
    """Each share is told once the library's counters have moved on, and no sooner than NVML can tell."""
    answer(answers, HOPPER)
    assert "controlplane_gpu_sm_utilisation_ratio" not in running.page()
    answer(answers, LATER)
    page = until(running, "controlplane_gpu_sm_utilisation_ratio")
    assert page["controlplane_gpu_sm_utilisation_ratio"][0][1] == pytest.approx(0.25)
    assert page["controlplane_gpu_memory_bandwidth_utilisation_ratio"][0][1] == pytest.approx(0.5)
    answer(answers, HOPPER_CUT)
    assert "controlplane_gpu_slice_sm_utilisation_ratio" not in running.page()
    answer(answers, HOPPER_CUT | {"gpm.0.2": "2000 900 800 0 100", "gpm.0.9": "2000 900 800 700 600"})
    page = until(running, "controlplane_gpu_slice_sm_utilisation_ratio")
    shares = {labels["slice"]: value for labels, value in page["controlplane_gpu_slice_sm_utilisation_ratio"]}
    assert shares == pytest.approx({"MIG-0000": 0.8, "MIG-3333": 0.0})


def until(running: Running, series: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The first page that has the series."""
    deadline = time.monotonic() + 60
    while series not in (page := running.page()):
        assert time.monotonic() < deadline, page
    return page


async def test_a_child_of_a_server_on_the_gpu_is_known_by_the_server_through_the_agents_page(
    running: Running, answers: Path
) -> None:
    above = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent(IDLE), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert above.stdin is not None
    assert above.stdout is not None
    try:
        port, (pid, _) = int(await above.stdout.readline()), json.loads(await above.stdout.readline())
        answer(answers, GPU | {"procs.0": f"{pid}:1"})
        server = ServerSpec("t0", ServerKind.TRITON, f"http://127.0.0.1:{port}", "http://127.0.0.1:9/metrics")
        agents = Fleet((), (), (), (AgentSpec("node-1", running.url),))
        collector = FleetCollector(agents, timeout_s=5, max_age_s=15, clock=lambda: 100.0, nvml=False)
        await collector.collect(100.0)
        gpus = collector.reading(101.0).gpus
        await collector.close()
        assert isinstance(gpus, Known)
        assert isinstance(gpus.value[0].processes, Known)
        (process,) = gpus.value[0].processes.value
        assert process.pid == pid
        assert ProcessServers(replace(agents, servers=(server,))).server_of(process, "node-1") == Known("t0", 100.0)
    finally:
        above.stdin.close()
        await above.wait()


async def test_the_control_plane_reads_of_the_page_what_it_reads_of_nvml_itself(
    running: Running, shim: Path, answers: Path, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    reader = Reader(shim, tmp_path / "own")
    fleet = Fleet((), (), (), (AgentSpec("node-1", running.url), AgentSpec("node-2", "http://127.0.0.1:9/metrics")))
    collector = FleetCollector(fleet, timeout_s=5, max_age_s=15, clock=lambda: 100.0, nvml=False)
    try:
        for told in (GPU, CUT):
            answer(answers, told)
            await collector.collect(100.0)
            reading = collector.reading(101.0)
            assert isinstance(reading.gpus, Known)
            far = json.loads(json.dumps([asdict(gpu) for gpu in reading.gpus.value]))
            assert {gpu.pop("node") for gpu in far} == {"node-1"}
            own = reader.read(told)["gpus"]
            assert {gpu.pop("node") for gpu in own} == {""}
            assert far == own
            assert reading.gpu_nodes["node-1"] == Known(value=True, observed_at=100.0)
            assert reading.gpu_nodes["node-2"] == Missing("connection refused")
    finally:
        await collector.close()
        reader.end()


@pytest.mark.gpu
def test_a_real_gpu_is_on_the_page(tmp_path: Path) -> None:
    if not HAS_DRIVER:
        pytest.skip("no NVIDIA driver on this machine")
    with agent(dict(os.environ), tmp_path) as started:
        page = started.page()
    assert page["controlplane_agent_nvml_up"] == [({"reason": ""}, 1.0)]
    assert all(labels["gpu"].startswith("GPU-") for labels, _ in page["controlplane_gpu_info"])
    assert all(value > 2**30 for _, value in page["controlplane_gpu_memory_total_bytes"])
