"""GPUs by the page of NVIDIA's dcgm-exporter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlplane.collect.gpu import dcgm_fields
from controlplane.collect.gpu.agent import AgentTarget
from controlplane.collect.gpu.dcgm import NEVER_TOLD, NO_SLICE, NO_VALUE, gpus_of_dcgm
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.gpu import GpuReading, SliceReading
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import AgentKind, AgentSpec

AT = 50.0
PAGE = (Path(__file__).parents[2] / "pages/dcgm-exporter-documented.txt").read_text()
UNDER_MIG = Missing("not told while MIG is on")


def gpus(text: str) -> tuple[GpuReading, ...]:
    found = gpus_of_dcgm(text, "node-1", AT)
    assert isinstance(found, Known)
    return found.value


def slices(gpu: GpuReading) -> tuple[SliceReading, ...]:
    assert isinstance(gpu.slices, Known)
    return gpu.slices.value


def changed(pattern: str, to: str) -> str:
    text, times = re.subn(pattern, to, PAGE, flags=re.MULTILINE)
    assert times
    return text


def without(series: str) -> str:
    return changed(rf"^{series}\{{.*\n", "")


def of_first(series: str, value: str) -> str:
    """The page with that value for the whole GPU."""
    return changed(rf"^({series}\{{gpu=\"0\".*\}}) \S+$", rf"\1 {value}")


def test_a_whole_gpu_in_our_units() -> None:
    whole, _ = gpus(PAGE)
    assert whole == GpuReading(
        uuid="GPU-0d7c1e52-30a8-4f8e-9d3b-51c2a7a40001",
        index=0,
        name="NVIDIA H100 80GB HBM3",
        node="node-1",
        utilisation=Known(0.87, AT),
        sm_utilisation=Known(0.75, AT),
        tensor_utilisation=Known(0.25, AT),
        bandwidth_utilisation=Known(0.5, AT),
        memory_used_bytes=Known(60928 * 2**20, AT),
        memory_total_bytes=Known((60928 + 20480 + 151) * 2**20, AT),
        power_w=Known(412.53, AT),
        temperature_c=Known(61, AT),
        sm_clock_mhz=Known(1980, AT),
        throttle_reasons=Known(("sw_power_cap",), AT),
        ecc_uncorrected=Known(2, AT),
        last_xid=Known(79, AT),
        processes=Missing(NEVER_TOLD),
        mig_enabled=Known(value=False, observed_at=AT),
        mig_pending=Missing(NEVER_TOLD),
        slices=Known((), AT),
    )


def test_a_cut_gpu_and_its_slices() -> None:
    _, cut = gpus(PAGE)
    assert cut.mig_enabled == Known(value=True, observed_at=AT)
    assert {cut.utilisation, cut.sm_utilisation, cut.memory_used_bytes, cut.memory_total_bytes} == {UNDER_MIG}
    assert (cut.power_w, cut.temperature_c, cut.sm_clock_mhz) == (Known(118.204, AT), Known(37, AT), Known(345, AT))
    assert (cut.last_xid, cut.ecc_uncorrected, cut.throttle_reasons) == (Known(0, AT), Known(0, AT), Known((), AT))
    first, second = slices(cut)
    assert first == SliceReading(
        uuid="GPU-0d7c1e52-30a8-4f8e-9d3b-51c2a7a40002/2",
        gpu_instance=2,
        compute_instance=None,
        profile=Known("3g.40gb", AT),
        memory_used_bytes=Known(384 * 2**20, AT),
        memory_total_bytes=Known((384 + 40064) * 2**20, AT),
        placement=Missing(NEVER_TOLD),
        utilisation=Known(0.125, AT),
        sm_utilisation=Known(0.0625, AT),
        tensor_utilisation=Known(0.03125, AT),
        bandwidth_utilisation=Known(0.015625, AT),
    )
    assert (second.gpu_instance, second.profile, second.utilisation) == (9, Known("1g.10gb", AT), Known(0.0, AT))


def test_a_utilisation_of_0_that_old_versions_tell_for_slices_is_not_taken() -> None:
    row = next(line for line in PAGE.splitlines() if 'GPU_I_ID="2"' in line and "SM_CLOCK" in line)
    _, cut = gpus(PAGE + row.replace("SM_CLOCK", "GPU_UTIL").replace(" 345", " 0") + "\n")
    assert cut.utilisation == UNDER_MIG
    assert slices(cut)[0].utilisation == Known(0.125, AT)


def test_the_share_of_the_engine_stands_in_for_the_utilisation_that_is_not_exported() -> None:
    assert gpus(without("DCGM_FI_DEV_GPU_UTIL"))[0].utilisation == Known(0.862113, AT)


def test_the_total_memory_is_taken_where_it_is_exported() -> None:
    text = changed("DCGM_FI_DEV_FB_RESERVED", "DCGM_FI_DEV_FB_TOTAL")
    assert gpus(text)[0].memory_total_bytes == Known(151 * 2**20, AT)
    older = gpus(without("DCGM_FI_DEV_FB_RESERVED"))[0]
    assert older.memory_total_bytes == Known((60928 + 20480) * 2**20, AT)
    lacking = gpus(without("DCGM_FI_DEV_FB_FREE"))[0]
    assert lacking.memory_total_bytes == Missing("DCGM_FI_DEV_FB_FREE is not on the exporter's page")


def test_the_old_name_of_the_clock_reasons_is_read() -> None:
    text = changed("CLOCKS_EVENT_REASONS", "CLOCK_THROTTLE_REASONS")
    assert gpus(text)[0].throttle_reasons == Known(("sw_power_cap",), AT)


def test_what_is_not_exported_is_missing_by_its_name() -> None:
    gpu = gpus(without("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"))[0]
    assert gpu.ecc_uncorrected == Missing("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL is not on the exporter's page")
    slice_ = slices(gpus(without("DCGM_FI_PROF_SM_ACTIVE"))[1])[0]
    assert slice_.sm_utilisation == Missing("DCGM_FI_PROF_SM_ACTIVE is not on the exporter's page")


def test_a_gpu_without_slices_and_without_the_mode_may_be_cut() -> None:
    whole, cut = gpus(without("DCGM_FI_DEV_MIG_MODE"))
    assert (whole.mig_enabled, whole.slices) == (Missing(NO_SLICE), Missing(NO_SLICE))
    assert cut.mig_enabled == Known(value=True, observed_at=AT)
    only_gpus = gpus(of_first("DCGM_FI_DEV_MIG_MODE", "1"))[0]
    assert (only_gpus.mig_enabled, only_gpus.slices) == (Known(value=True, observed_at=AT), Missing(NO_SLICE))


@pytest.mark.parametrize(
    "blank", ["9223372036854775794", "2147483632", "140737488355330.000000", "NaN", "+Inf", "-Inf"]
)
@pytest.mark.parametrize(
    ("series", "name"),
    [
        ("DCGM_FI_DEV_GPU_TEMP", "temperature_c"),
        ("DCGM_FI_DEV_POWER_USAGE", "power_w"),
        ("DCGM_FI_DEV_GPU_UTIL", "utilisation"),
        ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "throttle_reasons"),
        ("DCGM_FI_DEV_FB_FREE", "memory_total_bytes"),
    ],
)
def test_values_that_stand_for_none_are_missing(series: str, name: str, blank: str) -> None:
    assert getattr(gpus(of_first(series, blank))[0], name) == Missing(NO_VALUE)


def test_a_share_above_the_whole_is_missing() -> None:
    # seen for slices: github.com/NVIDIA/DCGM issue 152
    assert gpus(of_first("DCGM_FI_PROF_SM_ACTIVE", "1.7"))[0].sm_utilisation == Missing("170% cannot be")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("up 1\n", "tells no GPU as dcgm-exporter does"),
        (PAGE[: len(PAGE) // 2], "cut short"),
        ("<html></html>\n", "not a metrics page"),
        ('DCGM_FI_DEV_GPU_TEMP{gpu="0"} 40\n', "no proper labels: 'UUID'"),
        ('DCGM_FI_DEV_GPU_TEMP{gpu="x",UUID="G"} 40\n', "no proper labels"),
        ('DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="G",GPU_I_ID="x"} 40\n', "no proper labels"),
    ],
)
def test_a_page_of_something_else_is_malformed(text: str, why: str) -> None:
    with pytest.raises(MalformedPageError, match=why):
        gpus_of_dcgm(text, "n", AT)


async def test_a_node_of_that_kind_is_read_by_its_exporter() -> None:
    class Pages:
        text = PAGE

        async def get_text(self, *_: object) -> str:
            return self.text

    target, pages = AgentTarget(AgentSpec("node-1", "http://n:9400/metrics", AgentKind.DCGM), max_age_s=15), Pages()
    assert await target.read(pages, 1, lambda: AT) is None  # type: ignore[arg-type]
    assert target.reading(AT) == Known(gpus(PAGE), AT)
    pages.text = "up 1\n"
    assert await target.read(pages, 1, lambda: AT + 5) is not None  # type: ignore[arg-type]
    old = target.reading(AT + 20)
    assert isinstance(old, Stale)
    assert old.why == "agent node-1: its page tells no GPU as dcgm-exporter does"


def test_the_page_has_every_field_that_is_read() -> None:
    unread = {"DCGM_FI_DEV_FB_TOTAL", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"}
    assert {series for series in dcgm_fields.WANTED if f"\n{series}{{" in PAGE} == dcgm_fields.WANTED - unread
