"""The agent's page: every figure, every reason, nothing twice."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controlplane.collect.gpu import dcgm_fields
from controlplane.domain.gpu import GPU_SIGNALS, GpuReading
from controlplane.domain.signal import Known, Missing
from controlplane.publish.metrics.families import AGENT_FAMILIES, GPU_FAMILIES
from controlplane.publish.metrics.gpus import GpuMetrics
from tests.unit.agent.readings import CUT, LOST, WHOLE

PAGE = (Path(__file__).parents[3] / "docs/reference/agent.md").read_text(encoding="utf-8")


def samples(*gpus: GpuReading) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GpuMetrics(Known(gpus, 1.0)))
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            key = sample.name, frozenset((k, v) for k, v in sample.labels.items() if v)
            assert key not in found, key
            found[key] = sample.value
    return found


def test_no_series_is_there_twice_and_every_family_is_used() -> None:
    found = samples(WHOLE, CUT, LOST)
    names = {family.name + ("_total" if family.kind == "counter" else "") for family in AGENT_FAMILIES}
    assert {name for name, _ in found} == names


def test_what_is_missing_has_a_reason_and_no_value() -> None:
    found = samples(LOST)
    reasons = {dict(labels)["signal"] for name, labels in found if name == "controlplane_gpu_missing"}
    assert reasons == set(GPU_SIGNALS)
    assert {name for name, _ in found} == {
        "controlplane_agent_nvml_up",
        "controlplane_gpu_info",
        "controlplane_gpu_missing",
    }


def test_without_nvml_the_page_is_one_zero_with_the_reason() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GpuMetrics(Missing("no NVIDIA driver")))
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert lines == ['controlplane_agent_nvml_up{reason="no NVIDIA driver"} 0.0']


def test_the_reference_lists_what_the_agent_has_besides() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \| (.+) \|$", PAGE, re.MULTILINE)
    own = [(f.name, f.kind, ", ".join(f.labels), f.help) for f in AGENT_FAMILIES if f not in GPU_FAMILIES]
    assert rows == own


def test_the_reference_lists_the_fields_of_dcgm_that_are_read() -> None:
    assert set(re.findall(r"`(DCGM_FI_\w+)`", PAGE)) == dcgm_fields.WANTED
