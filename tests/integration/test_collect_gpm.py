"""GPM through the real pynvml against the shim: shares between two rounds, of GPUs and of MIG slices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.collect.gpu.nvml import Nvml
from controlplane.domain.signal import Known, Missing, Signal
from tests.integration.test_collect_nvml import BEFORE_HOPPER, BY_GPM, FIRST, HAS_DRIVER
from tests.nvml_shim.drive import GPU, HOPPER, HOPPER_CUT, Reader, build

LATER = HOPPER | {"gpm.0": "6000 3000 1650 550 2700"}
"""5 s after HOPPER: busy 50 %, SMs 25 %, tensor cores 5 %, bandwidth 50 %."""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def reader(shim: Path, tmp_path: Path) -> Iterator[Reader]:
    made = Reader(shim, tmp_path)
    yield made
    made.end()


def shares(of: dict[str, Any], *names: str) -> list[Any]:
    """Values where they are known, else why not."""
    return [of[name].get("value", of[name].get("why")) for name in names or BY_GPM]


def gpu(told: dict[str, Any]) -> dict[str, Any]:
    (only,) = told["gpus"]
    return dict(only)


def slices(told: dict[str, Any]) -> list[dict[str, Any]]:
    return list(gpu(told)["slices"]["value"])


def test_shares_are_those_between_this_round_and_the_one_before(reader: Reader) -> None:
    first = reader.read(HOPPER, 100)
    assert shares(gpu(first)) == [FIRST["why"]] * 3
    second = reader.read(LATER, 105)
    assert shares(gpu(second)) == pytest.approx([0.25, 0.05, 0.5])
    assert gpu(second)["sm_utilisation"]["observed_at"] == 105
    third = reader.read(HOPPER | {"gpm.0": "16000 3000 1650 550 12700"}, 115)
    assert shares(gpu(third)) == [0, 0, 1]
    assert [told["samples"] for told in (first, second, third)] == [1, 1, 1]


def test_rounds_close_to_each_other_share_what_was_told(reader: Reader) -> None:
    reader.read(HOPPER, 100)
    reader.read(LATER, 105)
    again = reader.read(HOPPER | {"gpm.0": "6010 3000 1650 550 2700"}, 105.01)
    assert gpu(again)["sm_utilisation"] == {"value": pytest.approx(0.25), "observed_at": 105}
    assert again["samples"] == 1


def test_an_average_over_minutes_says_nothing_of_now(reader: Reader) -> None:
    reader.read(HOPPER, 100)
    assert shares(gpu(reader.read(LATER, 400))) == [FIRST["why"]] * 3
    assert shares(gpu(reader.read(LATER | {"gpm.0": "7000 3000 1650 550 3700"}, 401))) == [0, 0, 1]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"gpmsupport.0": "0"}, BEFORE_HOPPER["why"]),
        ({"gpmsupport.0": "!4"}, "no permission to ask the NVIDIA driver"),
        ({"gpmsupport.0": "!15"}, "the GPU is lost"),
        ({"gpm.0": "!4"}, "no permission to ask the NVIDIA driver"),
        ({"gpm.0": "!15"}, "the GPU is lost"),
        ({"gpmmetrics.0": "!4"}, "no permission to ask the NVIDIA driver"),
    ],
    ids=str,
)
def test_what_nvml_refuses_is_missing_with_its_reason_and_leaks_no_sample(
    reader: Reader, answers: dict[str, str], why: str
) -> None:
    reader.read(HOPPER, 100)
    refused = reader.read(LATER | answers, 105)
    assert shares(gpu(refused)) == [why] * 3
    assert gpu(refused)["utilisation"]["value"] == 0.37
    assert refused["samples"] <= 1
    reader.read(HOPPER | {"gpm.0": "20000 0 0 0 0"}, 110)
    back = reader.read(HOPPER | {"gpm.0": "30000 0 5000 0 0"}, 120)
    assert shares(gpu(back)) == [0.5, 0, 0]
    assert back["samples"] == 1


def test_one_share_that_is_refused_or_cannot_be_is_missing_alone(reader: Reader) -> None:
    reader.read(HOPPER, 100)
    refused = reader.read(HOPPER | {"gpm.0": "6000 3000 1650 - 2700"}, 105)
    assert shares(gpu(refused)) == [0.25, "not supported by this GPU", 0.5]
    beyond = reader.read(HOPPER | {"gpm.0": "7000 3000 3150 0 3710"}, 110)
    assert shares(gpu(beyond), "sm_utilisation", "bandwidth_utilisation") == ["150% cannot be", 1.0]
    odd = reader.read(HOPPER | {"gpm.0": "8000 3000 nan 0 3710"}, 115)
    assert shares(gpu(odd), "sm_utilisation", "bandwidth_utilisation") == ["no number was given", 0]


def test_a_cut_gpu_tells_each_slice_by_its_gpu_instance(reader: Reader) -> None:
    assert [shares(piece) for piece in slices(reader.read(HOPPER_CUT, 100))] == [[FIRST["why"]] * 3] * 2
    later = reader.read(HOPPER_CUT | {"gpm.0.2": "2000 900 800 0 100", "gpm.0.9": "2000 900 800 700 600"}, 101)
    all_four = ("utilisation", *BY_GPM)
    assert [shares(piece, *all_four) for piece in slices(later)] == [[0.9, 0.8, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]]
    assert shares(gpu(later), *all_four) == ["not told while MIG is on"] * 4
    assert later["samples"] == 2


def test_slices_that_come_and_go_take_no_sample_of_another_with_them(reader: Reader) -> None:
    reader.read(HOPPER_CUT, 100)
    # the same GPU instance number, another slice: cut anew between two rounds
    anew = reader.read(HOPPER_CUT | {"uuid.0.0": "MIG-9999", "gpm.0.2": "2000 900 800 0 100"}, 101)
    assert shares(slices(anew)[0]) == [FIRST["why"]] * 3
    assert anew["samples"] == 2
    whole = reader.read(HOPPER, 102)
    assert shares(gpu(whole)) == [FIRST["why"]] * 3
    assert whole["samples"] == 1


def test_a_session_that_ends_frees_the_samples(reader: Reader) -> None:
    reader.read(HOPPER_CUT, 100)
    assert reader.read({"init": "!9", "count": "!9"}, 101)["samples"] == 0
    assert shares(gpu(reader.read(HOPPER, 102))) == [FIRST["why"]] * 3


def test_a_gpu_that_is_lost_and_comes_back_tells_its_shares_again(reader: Reader) -> None:
    reader.read(HOPPER, 100)
    lost = gpu(reader.read(HOPPER | {"handle.0": "!15"}, 105))
    assert shares(lost) == ["the GPU is lost"] * 3
    reader.read(LATER, 110)
    assert shares(gpu(reader.read(LATER | {"gpm.0": "7000 3000 1650 550 3700"}, 115))) == [0, 0, 1]


def test_a_gpm_call_that_hangs_is_a_call_that_hangs(reader: Reader) -> None:
    assert reader.read(HOPPER | {"gpm.0": "hang"})["why"] == "NVML: no answer within 0.5 s"
    assert reader.read(GPU)["threads"] == 1


@pytest.mark.gpu
async def test_a_real_gpu_tells_its_shares_or_why_not() -> None:
    if not HAS_DRIVER:
        pytest.skip("no NVIDIA driver on this machine")
    nvml = Nvml(5, max_age_s=15)
    await nvml.read(lambda: 1.0)
    first = nvml.reading(1)
    await asyncio.sleep(0.2)  # what NVML needs between two samples
    await nvml.read(lambda: 2.0)
    second = nvml.reading(2)
    nvml.close()
    assert isinstance(first, Known)
    assert isinstance(second, Known)
    for before, after in zip(first.value, second.value, strict=True):
        for name in BY_GPM:
            assert isinstance(getattr(before, name), Missing)
            assert_share(getattr(after, name))
        assert isinstance(after.slices, Known)
        for piece in after.slices.value:
            for name in ("utilisation", *BY_GPM):
                assert_share(getattr(piece, name))


def assert_share(signal: Signal[float]) -> None:
    if isinstance(signal, Known):
        assert 0 <= signal.value <= 1
    else:
        assert isinstance(signal, Missing)
        assert signal.why
