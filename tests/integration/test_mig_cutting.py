"""GPUs cut through the real pynvml, on the shim that keeps the rules of MIG."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pynvml
import pytest

from controlplane.agent.mig import nvml
from controlplane.agent.mig.geometry import board_of, differences, nvml_profile
from controlplane.decide.mig import Slice
from tests.integration.test_collect_nvml import HAS_DRIVER
from tests.nvml_shim.cutting import Cutting
from tests.nvml_shim.drive import build
from tests.nvml_shim.machine import Fault, Machine

BIG = ("3g.40gb", 4)
DOUBLE = ("1g.20gb", 0)
SMALL = ("1g.10gb", 2)
Start = Callable[..., Cutting]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def process(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cutting]:
    cutting = Cutting(shim, tmp_path_factory.mktemp("cutting"))
    yield cutting
    cutting.end()


@pytest.fixture
def start(process: Cutting, tmp_path: Path) -> Start:
    return partial(process.begin, journal=tmp_path / "journal")


@pytest.fixture
def hopper(start: Start) -> Cutting:
    return start("h100-80gb")


@pytest.fixture
def cut(hopper: Cutting) -> Cutting:
    """An H100 with three slices."""
    assert hopper.apply(BIG, DOUBLE, SMALL)["state"] == "done"
    return hopper


def profile(machine: Machine, name: str) -> Any:
    """The driver's row for a profile of ours, to be changed."""
    return machine.state.gpu[0].profiles[next(p.nvml or 0 for p in machine.board().profiles if p.name == name)]


def test_the_shim_keeps_the_rules_of_mig(hopper: Cutting) -> None:
    assert hopper.rules() == {
        "created with MIG off": 3,
        "mode": [0, 1, 1],
        "small first": [True, True, True, 23],
        "large first": [True, True, True, True],
        "room for 1g": [7, 5],
        "room for 3g": [2, 0],
        "ids": [1, 2, 1],
        "taken": 23,
        "no such place": 2,
        "no such size": 2,
        "a handle of what is gone": 2,
        "SMs of compute instances": [16, 26],
        "a GPU instance with a compute instance": 19,
        "UUIDs": 2,
        "off with an instance": [1, 19],
    }


def test_a_whole_hopper_is_cut_at_once_the_largest_slice_first(hopper: Cutting) -> None:
    told = hopper.apply(DOUBLE, BIG)
    assert told["state"] == "done"
    assert told["done"] == ["destroy whole at 0", "create 3g.40gb at 4", "create 1g.20gb at 0"]
    assert [step["uuid"] for step in told["steps"][1:]] == [hopper.machine.slices()[Slice(*p)] for p in (BIG, DOUBLE)]
    assert set(hopper.machine.slices()) == {Slice(*BIG), Slice(*DOUBLE)}


def test_a_slice_gets_the_compute_instance_with_the_most_sms(hopper: Cutting) -> None:
    hopper.apply(DOUBLE, SMALL)
    assert hopper.machine.compute_sm(Slice(*DOUBLE)) == 26
    assert hopper.machine.compute_sm(Slice(*SMALL)) == 16


def test_slices_that_stay_are_not_touched_though_they_are_in_use(cut: Cutting) -> None:
    before = cut.machine.slices()
    cut.machine.attach(os.getpid(), Slice(*BIG))
    told = cut.apply(BIG, SMALL, ("1g.10gb", 0), ("1g.10gb", 1))
    assert told["done"] == ["destroy 1g.20gb at 0", "create 1g.10gb at 0", "create 1g.10gb at 1"]
    after = cut.machine.slices()
    assert {p: after[p] for p in (Slice(*BIG), Slice(*SMALL))} == {p: before[p] for p in (Slice(*BIG), Slice(*SMALL))}


def test_what_is_there_already_takes_no_step(cut: Cutting) -> None:
    changes = cut.machine.state.changes
    assert cut.apply(SMALL, DOUBLE, BIG) == cut.apply(BIG, DOUBLE, SMALL)
    assert cut.apply(BIG, DOUBLE, SMALL)["all"] == []
    assert cut.machine.state.changes == changes


def test_a_dry_run_tells_the_steps_and_changes_nothing(cut: Cutting) -> None:
    changes = cut.machine.state.changes
    told = cut.apply(BIG, ("2g.20gb", 0), dry_run=True)
    assert (told["state"], told["done"]) == ("planned", [])
    assert told["all"] == ["destroy 1g.20gb at 0", "destroy 1g.10gb at 2", "create 2g.20gb at 0"]
    assert cut.machine.state.changes == changes


def test_whole_turns_mig_off_and_no_slices_leave_it_on(cut: Cutting) -> None:
    assert cut.apply()["state"] == "done"
    assert (cut.machine.slices(), cut.machine.state.gpu[0].mode) == ({}, 1)
    assert cut.apply(("whole", 0))["done"] == ["create whole at 0"]
    assert cut.machine.state.gpu[0].mode == 0
    assert cut.layouts()[0]["layout"][0]["profile"] == "whole"
    assert cut.apply()["all"] == []


def test_a_process_is_named_and_nothing_is_changed(cut: Cutting) -> None:
    changes = cut.machine.state.changes
    cut.machine.attach(os.getpid(), Slice(*BIG))
    told = cut.apply(("whole", 0))
    assert told["state"] == "refused"
    assert told["detail"].startswith(f"3g.40gb at 4 is in use by {os.getpid()} (")
    assert cut.machine.state.changes == changes
    assert told["all"] == [
        "destroy 1g.20gb at 0",
        "destroy 1g.10gb at 2",
        "destroy 3g.40gb at 4",
        "create whole at 0",
    ]


def test_mig_is_not_turned_on_under_a_process(hopper: Cutting) -> None:
    hopper.machine.attach(4194404)
    told = hopper.apply(BIG)
    assert (told["state"], told["detail"]) == ("refused", "the GPU is in use by 4194404")
    assert hopper.layouts()[0]["layout"][0]["processes"] == ["4194404"]
    assert hopper.machine.state.changes == 0


@pytest.mark.parametrize("start_with", [(), (("whole", 0),)], ids=["off", "off, asked for before"])
def test_an_ampere_waits_for_its_reset_and_is_cut_once_that_is_asked_for_after_it(
    start: Start, start_with: tuple[tuple[str, int], ...]
) -> None:
    ampere = start("a100-80gb")
    if start_with:
        ampere.apply(*start_with)
    told = ampere.apply(BIG)
    assert (told["state"], told["done"]) == ("reset_required", [])
    assert "a person's to do" in told["detail"]
    assert "nvidia-smi --gpu-reset -i GPU-0" in told["detail"]
    (gpu,) = ampere.layouts()
    assert (gpu["mig"], gpu["mig_pending"], gpu["last"]["state"]) == (False, True, "reset_required")
    changes = ampere.machine.state.changes
    assert ampere.resume() == [], "nobody has reset it yet, so nothing is tried"
    assert ampere.apply(BIG)["state"] == "reset_required", "who asks again is told the same"
    assert ampere.machine.state.changes == changes, "and the driver is not asked twice"
    ampere.machine.reset()
    assert ampere.resume() == [], "that may be long after: people may want nothing cut by then"
    assert ampere.machine.slices() == {}
    assert ampere.apply(BIG)["state"] == "done"
    assert set(ampere.machine.slices()) == {Slice(*BIG)}
    assert ampere.resume() == []


def test_an_ampere_that_is_to_be_cut_again_takes_back_what_is_pending(start: Start) -> None:
    ampere = start("a100-80gb")
    ampere.apply(BIG)
    ampere.machine.reset()
    ampere.apply(BIG)
    assert ampere.apply(("whole", 0))["state"] == "reset_required"
    assert ampere.apply(BIG)["done"] == ["destroy whole at 0", "create 3g.40gb at 4"]
    assert (ampere.machine.state.gpu[0].mode, ampere.machine.state.gpu[0].pending) == (1, 1)


def test_a_mode_that_a_person_took_back_is_not_asked_for_again(start: Start) -> None:
    ampere = start("a100-80gb")
    assert ampere.apply(BIG)["state"] == "reset_required"
    ampere.machine.state.gpu[0].pending = 0  # nvidia-smi -mig 0
    assert ampere.resume() == []
    assert ampere.machine.state.gpu[0].pending == 0


@pytest.mark.parametrize(
    ("name", "field", "value", "told"),
    [
        ("3g.40gb", "size", 3, "3g.40gb: the driver has size 3, the table of h100-80gb 4"),
        ("1g.10gb", "most", 4, "1g.10gb: the driver has count 4, the table of h100-80gb 7"),
        ("1g.20gb", "starts_count", 2, "1g.20gb: the driver has starts 0, 2, the table of h100-80gb 0, 2, 4, 6"),
    ],
)
def test_a_geometry_that_differs_from_the_table_is_refused_with_the_difference(
    hopper: Cutting, name: str, field: str, value: int, told: str
) -> None:
    setattr(profile(hopper.machine, name), field, value)
    assert hopper.apply(("1g.10gb+me", 0))["detail"] == told
    assert hopper.layouts()[0]["why"] == told
    assert hopper.machine.state.changes == 0


def test_ids_sms_and_names_are_the_drivers_business(hopper: Cutting) -> None:
    row = profile(hopper.machine, "3g.40gb")
    row.id, row.sm, row.name = 77, 58, b"MIG 3g.39gb"
    assert hopper.apply(BIG)["state"] == "done"
    assert hopper.layouts()[0]["layout"][0]["profile"] == "3g.40gb"


def test_a_profile_that_the_driver_lacks_is_refused_where_it_is_asked_for(hopper: Cutting) -> None:
    profile(hopper.machine, "1g.20gb").there = 0
    assert hopper.apply(DOUBLE)["detail"] == "the driver has no profile 1g.20gb"
    assert hopper.apply(BIG)["state"] == "done"


def test_a_slice_that_only_the_driver_knows_is_shown_and_goes_where_it_is_not_asked_for(cut: Cutting) -> None:
    rows = cut.machine.state.gpu[0].profiles
    rows[12] = profile(cut.machine, "1g.10gb")
    rows[12].id, rows[12].name = 99, b"MIG 1g.10gb+new"
    at = next(i for i in cut.machine.state.gpu[0].instances if i.used and i.start == 2)
    at.profile = 12
    (shown,) = [p for p in cut.layouts()[0]["layout"] if p["start"] == 2]
    assert shown["profile"] == "1g.10gb+new"
    assert cut.apply(BIG, DOUBLE)["done"] == ["destroy 1g.10gb+new at 2"]


def test_what_cannot_be_cut_says_why(start: Start) -> None:
    cutting = start("h100-80gb", "a100-80gb")
    first, second = cutting.machine.state.gpu[0], cutting.machine.state.gpu[1]
    first.profiles_only_with_mig = 1
    second.pci, second.name = 0x12345678, b"NVIDIA X1"
    why = [gpu["why"] for gpu in cutting.layouts()]
    assert why[0].startswith("the driver tells its profiles only while MIG is on")
    assert why[1] == "NVIDIA X1 (0x12345678) is not in the table of boards"
    assert [cutting.apply(BIG, gpu=f"GPU-{i}")["detail"] for i in (0, 1)] == why
    second.mig = 0
    assert cutting.layouts()[1]["why"] == "this GPU cannot be cut: it has no MIG"
    assert cutting.apply(BIG, gpu="GPU-9")["why"] == "no GPU named 'GPU-9'; known: GPU-0, GPU-1"
    assert cutting.machine.state.changes == 0


def test_a_gpu_that_is_lost_does_not_keep_the_others_from_being_cut(start: Start) -> None:
    cutting = start("h100-80gb", "a30-24gb")
    cutting.machine.state.gpu[0].lost = 1
    cutting.machine.state.gpu[1].resets = 0
    assert [(gpu["uuid"], gpu["why"]) for gpu in cutting.layouts()] == [("", "the GPU is lost"), ("GPU-1", "")]
    assert cutting.apply(("2g.12gb", 2), gpu="GPU-1")["state"] == "done"
    assert cutting.apply(BIG)["why"] == "no GPU named 'GPU-0'; known: GPU-1"


def test_without_the_right_that_is_the_reason(hopper: Cutting) -> None:
    hopper.machine.state.right = 0
    (gpu,) = hopper.layouts()
    assert (gpu["why"], gpu["board"]) == ("no permission to ask the NVIDIA driver", "h100-80gb")
    assert hopper.apply(BIG)["why"] == "NVML: no permission to ask the NVIDIA driver"


@pytest.mark.parametrize("layout", [(("3g.40gb", 2),), (BIG, ("1g.10gb", 5)), (("whole", 0), BIG), (("9g.9gb", 0),)])
def test_a_layout_that_cannot_be_is_refused(hopper: Cutting, layout: tuple[tuple[str, int], ...]) -> None:
    told = hopper.apply(*layout)
    assert told["state"] == "refused"
    assert told["detail"].startswith("h100-80gb cannot have this layout: ")


def test_a_profile_is_known_by_its_other_names(start: Start) -> None:
    ampere = start("a100-80gb")
    ampere.machine.state.gpu[0].resets = 0
    assert ampere.apply(("7g.79gb", 0))["done"] == ["destroy whole at 0", "create 7g.80gb at 0"]
    assert ampere.apply(("7g.79gb", 0))["all"] == []


def test_a_step_that_fails_is_told_with_what_was_done_and_asking_again_goes_on(cut: Cutting) -> None:
    stays = cut.machine.slices()[Slice(*BIG)]
    cut.machine.fail(Fault.ERROR_BEFORE, at_change=5, status=999)
    told = cut.apply(BIG, ("2g.20gb", 0))
    cut.machine.mend()
    assert (told["state"], told["done"]) == ("failed", ["destroy 1g.20gb at 0", "destroy 1g.10gb at 2"])
    assert told["detail"].startswith("NVML: ")
    assert cut.layouts()[0]["last"]["state"] == "failed"
    assert cut.resume() == []  # it is for whoever asked to say what is to be done
    assert cut.apply(BIG, ("2g.20gb", 0))["done"] == ["create 2g.20gb at 0"]
    assert cut.machine.slices()[Slice(*BIG)] == stays


def test_no_step_is_begun_after_the_deadline(start: Start) -> None:
    cutting = start("h100-80gb", deadline_s=-1.0)
    told = cutting.apply(BIG)
    assert (told["state"], told["done"]) == ("failed", [])
    assert "asking again goes on from here" in told["detail"]
    assert cutting.machine.state.changes == 0


def test_what_is_in_use_for_a_moment_is_waited_for_and_for_longer_it_fails(cut: Cutting) -> None:
    cut.machine.fail(Fault.ERROR_BEFORE, at_change=1, status=19)
    assert cut.apply(BIG, DOUBLE)["done"] == ["destroy 1g.10gb at 2"]
    at = next(i for i in cut.machine.state.gpu[0].instances if i.used and i.start == 0)
    at.computes[1] = at.computes[0]  # a second compute instance that nothing lists: it cannot be destroyed
    at.computes[1].profile = 3
    told = cut.apply(BIG)
    assert (told["state"], told["detail"]) == ("failed", "1g.20gb at 0 is in use by what the driver does not name")


def test_a_change_waits_for_no_other_process_that_changes_the_gpu(hopper: Cutting) -> None:
    hopper.apply(BIG)
    handle = os.open(hopper.journal / "GPU-0.lock", os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert hopper.apply(DOUBLE)["why"] == "GPU GPU-0: its layout is being changed by another process"
    finally:
        os.close(handle)
    assert hopper.apply(BIG)["state"] == "done"


def test_without_a_journal_nothing_is_begun(start: Start, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file in place of the folder")
    cutting = start("h100-80gb")
    told = cutting.apply(BIG)
    assert told["raised"] == "ConflictError"
    assert "cannot be written" in told["why"]
    assert cutting.machine.state.changes == 0


def test_a_journal_that_cannot_be_read_is_none(cut: Cutting) -> None:
    (cut.journal / "GPU-0.json").write_text('{"at": 1, "layo')
    assert cut.resume() == []
    assert cut.layouts()[0]["last"] is None
    assert cut.apply(BIG)["state"] == "done"
    assert cut.layouts()[0]["last"]["state"] == "done"


def test_a_gpu_without_a_driver_is_told_in_words(hopper: Cutting) -> None:
    hopper.answers.write_text("init !9\n")
    assert hopper.apply(BIG)["why"] == "NVML: the NVIDIA driver is not loaded"


def test_a_placement_by_value_would_end_the_process(hopper: Cutting) -> None:
    """Why it is passed by reference: the binding passes on what it is given."""
    program = """
import pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
pynvml.nvmlDeviceSetMigMode(gpu, 1)
print("called", flush=True)
pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, 19, pynvml.c_nvmlGpuInstancePlacement_t(0, 1))
"""
    ended = subprocess.run([sys.executable, "-c", program], env=hopper.environment, capture_output=True, check=False)
    assert (ended.stdout, ended.returncode) == (b"called\n", -signal.SIGSEGV)


@pytest.mark.gpu
def test_real_gpus_are_recognised_and_cut_as_the_table_has_it() -> None:
    """Reads only: no mode and no instance of a real GPU is changed by any test."""
    if not HAS_DRIVER:
        pytest.skip("no NVIDIA driver on this machine")
    pynvml.nvmlInit()
    try:
        readings = [nvml.read(uuid) for uuid in nvml.uuids()]
    except pynvml.NVMLError_NoPermission:
        pytest.skip("the places of profiles are told to the privileged only")
    finally:
        pynvml.nvmlShutdown()
    if all(reading.mode is None for reading in readings):
        pytest.skip("no GPU of this machine has MIG")
    for reading in (reading for reading in readings if reading.mode is not None):
        board = board_of(reading)
        assert board is not None, f"{reading.name} ({reading.pci}) is not in the table of boards"
        assert reading.table, "the driver tells no profile while MIG is off"
        assert differences(reading, board) == ()
        for profile in board.profiles:
            row = nvml_profile(reading, profile)
            if row is not None and profile.sm and profile.memory_mib:
                # what is planned with and was never read from a GPU by us: SMs differ by model, memory by driver
                assert row.sm == pytest.approx(profile.sm, rel=0.2), profile.name
                assert row.memory_mib == pytest.approx(profile.memory_mib, rel=0.05), profile.name
