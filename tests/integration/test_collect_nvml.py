"""NVML through the real pynvml: against a shim of the library that a file drives, and without any library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.collect.nvml import Nvml
from controlplane.domain.signal import Known, Missing

SHIM = Path(__file__).parents[1] / "nvml_shim"
ROOT = Path(__file__).parents[2]
HAS_DRIVER = Path("/dev/nvidiactl").exists()
GPU = {
    "init": "ok",
    "count": "1",
    "handle.0": "ok",
    "uuid.0": "GPU-aaaa",
    "name.0": "NVIDIA H200",
    "util.0": "37",
    "used.0": "1073741824",
    "total.0": "150000000000",
    "power.0": "250500",
    "mig.0": "0",
}


class Reader:
    """The collector's NVML reader in a process of its own, since the library is found when a process starts."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._answers = folder / "answers"
        environment = os.environ | {"LD_LIBRARY_PATH": str(library), "NVML_SHIM": str(self._answers)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nvml_shim.reader"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, answers: dict[str, str] | None = None) -> dict[str, Any]:
        """One round with the library answering so."""
        lines = "".join(f"{key} {value}\n" for key, value in (answers or {}).items())
        fresh = self._answers.with_suffix(".new")
        fresh.write_text(lines)
        fresh.replace(self._answers)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def end(self, timeout_s: float = 10) -> int:
        """Let it end; its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            return self._process.wait(timeout_s)
        finally:
            self._process.kill()
            self._process.stdout.close()


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the NVML shim needs a C compiler (cc)")
        pytest.skip("the NVML shim needs a C compiler (cc)")
    folder = tmp_path_factory.mktemp("nvml")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(SHIM / "nvml_shim.c")], check=True
    )
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path], Reader]]:
    readers: list[Reader] = []

    def make(library: Path) -> Reader:
        readers.append(Reader(library, tmp_path))
        return readers[-1]

    yield make
    for reader in readers:
        reader.end()


@pytest.fixture
def reader(shim: Path, start: Callable[[Path], Reader]) -> Reader:
    return start(shim)


def known(value: object) -> dict[str, object]:
    return {"value": value, "observed_at": 100.0}


def test_a_gpu_is_read_whole(reader: Reader) -> None:
    assert reader.read(GPU) == {
        "kind": "Known",
        "threads": 1,
        "gpus": [
            {
                "uuid": "GPU-aaaa",
                "index": 0,
                "name": "NVIDIA H200",
                "utilisation": known(0.37),
                "memory_used_bytes": known(1073741824),
                "memory_total_bytes": known(150000000000),
                "power_w": known(250.5),
                "mig_enabled": known(value=False),
            }
        ],
    }


def test_a_driver_without_gpus_is_known_to_have_none(reader: Reader) -> None:
    assert reader.read({"init": "ok", "count": "0"})["gpus"] == []


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("!9", "the NVIDIA driver is not loaded"),
        ("!4", "no permission to ask the NVIDIA driver"),
        ("!18", "NVML and the NVIDIA kernel module are of different versions"),
        ("!999", "NVML: "),
    ],
)
def test_a_driver_that_cannot_be_asked_is_missing_with_its_reason_and_is_asked_again(
    reader: Reader, status: str, why: str
) -> None:
    missing = reader.read(GPU | {"init": status})
    assert missing["kind"] == "Missing"
    assert missing["why"].startswith(why)
    assert reader.read(GPU)["kind"] == "Known"


def test_what_one_gpu_does_not_tell_is_missing_alone(reader: Reader) -> None:
    (gpu,) = reader.read(GPU | {"util.0": "!3", "power.0": "!4", "mig.0": "!3"})["gpus"]
    assert gpu["utilisation"] == {"why": "not supported by this GPU"}
    assert gpu["power_w"] == {"why": "no permission to ask the NVIDIA driver"}
    assert gpu["mig_enabled"] == known(value=False)
    assert gpu["memory_used_bytes"] == known(1073741824)


def test_mig_is_seen(reader: Reader) -> None:
    (gpu,) = reader.read(GPU | {"mig.0": "1"})["gpus"]
    assert gpu["mig_enabled"] == known(value=True)


def test_a_lost_gpu_keeps_its_name_and_the_others_their_values(reader: Reader) -> None:
    second = {key.replace(".0", ".1"): value for key, value in GPU.items() if ".0" in key} | {"uuid.1": "GPU-bbbb"}
    two = GPU | second | {"count": "2"}
    reader.read(two)
    lost, other = reader.read(two | {"handle.0": "!15"})["gpus"]
    assert (lost["uuid"], lost["name"]) == ("GPU-aaaa", "NVIDIA H200")
    assert lost["utilisation"] == lost["memory_used_bytes"] == {"why": "the GPU is lost"}
    assert (other["uuid"], other["utilisation"]) == ("GPU-bbbb", known(0.37))


def test_a_call_that_hangs_is_missing_and_gets_no_second_thread_and_does_not_keep_the_process(reader: Reader) -> None:
    assert reader.read(GPU)["kind"] == "Known"
    first = reader.read(GPU | {"used.0": "hang"})
    begun = time.monotonic()
    later = [reader.read(GPU) for _ in range(3)]
    assert time.monotonic() - begun < 0.5
    assert first["why"] == "NVML did not answer within 0.5 s"
    assert {answer["why"] for answer in later} == {"NVML has not answered a call for more than 0.5 s"}
    assert {answer["threads"] for answer in [first, *later]} == {1}
    assert reader.end(timeout_s=5) == 0


async def test_a_machine_without_a_driver_is_a_normal_state() -> None:
    if HAS_DRIVER:
        pytest.skip("this machine has an NVIDIA driver")
    nvml = Nvml(5, max_age_s=15)
    assert nvml.reading(1) == Missing("never read")
    await nvml.read(lambda: 1.0)
    assert nvml.reading(1) == Missing("no NVIDIA driver on this machine (libnvidia-ml.so.1 not found)")
    nvml.close()


@pytest.mark.gpu
async def test_a_real_gpu_is_read() -> None:
    if not HAS_DRIVER:
        pytest.skip("no NVIDIA driver on this machine")
    nvml = Nvml(5, max_age_s=15)
    await nvml.read(lambda: 1.0)
    gpus = nvml.reading(1)
    nvml.close()
    assert isinstance(gpus, Known)
    for gpu in gpus.value:
        assert gpu.uuid.startswith("GPU-")
        assert isinstance(gpu.memory_total_bytes, Known)
        assert gpu.memory_total_bytes.value > 2**30
