"""NVML through the real pynvml: against a shim of the library that a file drives, and without any library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.collect.gpu.nvml import Nvml
from controlplane.domain.signal import Known, Missing
from tests.nvml_shim.drive import CUT, GPU, Reader, build

HAS_DRIVER = Path("/dev/nvidiactl").exists()


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


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


@pytest.fixture(scope="module")
def shared(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One for tests that leave nothing behind in it."""
    made = Reader(shim, tmp_path_factory.mktemp("shared"))
    yield made
    made.end()


BEFORE_HOPPER = {"why": "only Hopper and later GPUs tell it"}
FIRST = {"why": "told from the second reading on"}
BY_GPM = ("sm_utilisation", "tensor_utilisation", "bandwidth_utilisation")
GONE = {"why": "no such process on this machine"}


def process(pid: int, memory: object, piece: str = "") -> dict[str, object]:
    return {"pid": pid, "memory_used_bytes": memory, "slice_uuid": piece, "ports": GONE, "pod_uid": GONE}


def known(value: object) -> dict[str, object]:
    return {"value": value, "observed_at": 100.0}


def test_a_gpu_is_read_whole(reader: Reader) -> None:
    assert reader.read(GPU) == {
        "kind": "Known",
        "threads": 1,
        "samples": 0,
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
                "mig_pending": known(value=False),
                "temperature_c": known(41),
                "sm_clock_mhz": known(1980),
                "throttle_reasons": known(["sw_power_cap"]),
                "ecc_uncorrected": known(2),
                "last_xid": known(0),
                "processes": known(
                    [process(4194401, known(1048576)), process(4194402, {"why": "the driver does not tell it"})]
                ),
                "slices": known([]),
                "node": "",
                **dict.fromkeys(BY_GPM, BEFORE_HOPPER),
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


def test_a_cut_gpu_tells_its_slices_by_name_memory_and_place_over_holes_in_their_numbers(reader: Reader) -> None:
    (gpu,) = reader.read(CUT)["gpus"]
    assert gpu["mig_enabled"] == known(value=True)
    assert gpu["utilisation"] == {"why": "not told while MIG is on"}
    first, second = gpu["slices"]["value"]
    assert first == {
        "uuid": "MIG-0000",
        "gpu_instance": 2,
        "compute_instance": 0,
        "profile": known("3g.71gb"),
        "memory_used_bytes": known(1000),
        "memory_total_bytes": known(76000000000),
        "placement": known({"start": 0, "size": 4}),
        **dict.fromkeys(("utilisation", *BY_GPM), BEFORE_HOPPER),
    }
    assert (second["uuid"], second["placement"]) == ("MIG-3333", known({"start": 6, "size": 1}))
    assert gpu["processes"] == known([process(4194403, known(1000), "MIG-0000")])


def test_without_the_privilege_a_slice_lacks_its_place_alone(reader: Reader) -> None:
    (gpu,) = reader.read(CUT | {"placement.0.2": "!4", "name.0.3": "NVIDIA H200"})["gpus"]
    first, second = gpu["slices"]["value"]
    assert first["placement"] == {"why": "no permission to ask the NVIDIA driver"}
    assert first["profile"] == known("3g.71gb")
    assert second["profile"] == {"why": "its name 'NVIDIA H200' tells no profile"}


def test_slices_change_while_it_runs(reader: Reader) -> None:
    (gpu,) = reader.read(CUT)["gpus"]
    assert len(gpu["slices"]["value"]) == 2
    (gpu,) = reader.read({key: value for key, value in CUT.items() if key != "slice.0.0"})["gpus"]
    assert [piece["uuid"] for piece in gpu["slices"]["value"]] == ["MIG-3333"]
    (gpu,) = reader.read(GPU)["gpus"]
    assert gpu["slices"] == known([])


def test_a_slice_that_goes_while_it_is_read_costs_the_slices_of_that_round(reader: Reader) -> None:
    (gpu,) = reader.read(CUT | {"uuid.0.0": "!6"})["gpus"]
    assert gpu["slices"]["why"].startswith("NVML: ")
    assert gpu["memory_used_bytes"] == known(1073741824)
    (gpu,) = reader.read(CUT)["gpus"]
    assert len(gpu["slices"]["value"]) == 2


def test_a_gpu_that_is_cut_into_nothing_has_no_slices(reader: Reader) -> None:
    (gpu,) = reader.read(GPU | {"mig.0": "1", "maxmig.0": "7", "util.0": "!3"})["gpus"]
    assert (gpu["mig_enabled"], gpu["slices"], gpu["processes"]) == (known(value=True), known([]), known([]))


def test_the_last_xid_error_is_kept_also_over_a_driver_that_goes_away(reader: Reader) -> None:
    assert reader.read(GPU)["gpus"][0]["last_xid"] == known(0)
    assert reader.read(GPU | {"xid.0": "79"})["gpus"][0]["last_xid"] == known(79)
    assert reader.read(GPU)["gpus"][0]["last_xid"] == known(79)
    assert reader.read(GPU | {"count": "!9"})["kind"] == "Missing"
    assert reader.read(GPU)["gpus"][0]["last_xid"] == known(79)
    assert reader.read(GPU | {"xid.0": "48"})["gpus"][0]["last_xid"] == known(48)


def test_a_gpu_without_xid_events_says_so(reader: Reader) -> None:
    (gpu,) = reader.read(GPU | {"events.0": "!3"})["gpus"]
    assert gpu["last_xid"] == {"why": "not supported by this GPU"}


@pytest.mark.parametrize("error", [("!3", "not supported by this GPU"), ("!15", "the GPU is lost"), ("!4", "no perm")])
@pytest.mark.parametrize(
    ("key", "figure"),
    [
        ("util", "utilisation"),
        ("power", "power_w"),
        ("temp", "temperature_c"),
        ("clock", "sm_clock_mhz"),
        ("throttle", "throttle_reasons"),
        ("ecc", "ecc_uncorrected"),
        ("procs", "processes"),
    ],
)
def test_each_figure_is_missing_alone_with_the_reason_of_its_call(
    shared: Reader, key: str, figure: str, error: tuple[str, str]
) -> None:
    (gpu,) = shared.read(GPU | {f"{key}.0": error[0]})["gpus"]
    assert gpu[figure]["why"].startswith(error[1])
    assert [name for name, value in gpu.items() if isinstance(value, dict) and "why" in value] == [
        figure,
        *BY_GPM,
    ]


def test_a_lost_gpu_keeps_its_name_and_the_others_their_values(reader: Reader) -> None:
    second = {key.replace(".0", ".1"): value for key, value in GPU.items() if ".0" in key} | {"uuid.1": "GPU-bbbb"}
    two = GPU | second | {"count": "2"}
    reader.read(two)
    lost, other = reader.read(two | {"handle.0": "!15"})["gpus"]
    assert (lost["uuid"], lost["name"]) == ("GPU-aaaa", "NVIDIA H200")
    assert lost["utilisation"] == lost["memory_used_bytes"] == {"why": "the GPU is lost"}
    assert (other["uuid"], other["utilisation"]) == ("GPU-bbbb", known(0.37))


def test_a_gpu_that_is_lost_while_it_is_read_is_missing_figure_by_figure(reader: Reader) -> None:
    reader.read(GPU)
    gone = {key: "!15" for key in GPU if key.endswith(".0") and key not in {"handle.0", "uuid.0", "name.0"}}
    (gpu,) = reader.read(GPU | gone | {"gpmsupport.0": "!15", "xid.0": "!15"})["gpus"]
    signals = {name: value for name, value in gpu.items() if name not in {"uuid", "index", "name", "node"}}
    assert signals == {name: {"why": "the GPU is lost"} for name in signals}
    (gpu,) = reader.read(GPU)["gpus"]
    assert gpu["utilisation"] == known(0.37)


def test_a_call_that_hangs_is_missing_and_gets_no_second_thread_and_does_not_keep_the_process(reader: Reader) -> None:
    assert reader.read(GPU)["kind"] == "Known"
    first = reader.read(GPU | {"used.0": "hang"})
    later = [reader.read(GPU) for _ in range(3)]
    assert first["why"] == "NVML: no answer within 0.5 s"
    assert {answer["why"] for answer in later} == {"NVML: an earlier call still hangs"}
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
        assert isinstance(gpu.temperature_c, Known)
        assert 0 < gpu.temperature_c.value < 120
        assert isinstance(gpu.sm_clock_mhz, Known)
        assert isinstance(gpu.throttle_reasons, Known)
        assert isinstance(gpu.processes, Known)
        assert isinstance(gpu.slices, Known)
        assert bool(gpu.slices.value) <= (gpu.mig_enabled == Known(value=True, observed_at=1.0))
