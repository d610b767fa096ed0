"""GPUs and slices as the API shows them and as `status` prints them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from controlplane.api.views.gpus import gpus_view
from controlplane.cli.gpu_tables import gpus_table
from controlplane.collect.gpus import Gpus, aged_gpus
from controlplane.domain.signal import Known, Missing
from tests.unit.agent.readings import AT, CUT, LOST, WHOLE

ALL: Gpus = Known((WHOLE, replace(CUT, node="node-1"), LOST), AT)


def view(gpus: Gpus, now: float = AT + 3) -> dict[str, Any]:
    return gpus_view(gpus, now).model_dump(mode="json")


def printed(gpus: Gpus, nodes: dict[str, Any] | None = None, now: float = AT + 3) -> str:
    console = Console(width=240, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(gpus_table(view(gpus, now), nodes or {}))
    return capture.get()


def test_the_api_shows_slices_processes_and_the_node() -> None:
    whole, cut, lost = view(ALL)["value"]
    assert (whole["node"], cut["node"]) == ("", "node-1")
    assert whole["throttle_reasons"]["value"] == ["sw_power_cap", "hw_thermal"]
    assert whole["processes"]["value"][1]["memory_used_bytes"]["why"] == "the driver does not tell it"
    first, second = cut["slices"]["value"]
    assert first["profile"] == {"state": "known", "value": "3g.71gb", "age_s": 3.0, "why": ""}
    assert first["placement"]["value"] == {"start": 0, "size": 4}
    assert (second["placement"]["state"], second["memory_total_bytes"]["why"]) == ("missing", "the GPU is lost")
    assert cut["processes"]["value"][0]["slice"] == "MIG-0000"
    assert lost["slices"] == {"state": "missing", "value": None, "age_s": None, "why": "the GPU is lost"}


def test_what_is_old_is_stale_down_to_the_slice() -> None:
    old = view(aged_gpus(ALL, AT + 60, 15, "connection refused"), AT + 60)
    assert old["state"] == "stale"
    memory = old["value"][1]["slices"]["value"][0]["memory_used_bytes"]
    assert (memory["state"], memory["value"], memory["why"]) == ("stale", 1000, "connection refused")


@pytest.mark.parametrize(
    "text",
    [
        "this machine",
        "node-1",
        "3 s ago",
        "37%",
        "250 W",
        "41 °C",
        "1980 MHz",
        "sw_power_cap, hw_thermal",
        "79",
        "3g.71gb",
        "0+4",
    ],
)
def test_status_shows_gpus_and_slices(text: str) -> None:
    assert text in printed(ALL)


def test_status_says_why_something_is_missing() -> None:
    lines = [line.rstrip() for line in printed(ALL).splitlines()]
    assert 'node-1 GPU 1: busy: not told while MIG is on; power: no permission to "ask" the driver' in lines
    assert 'MIG-3333: profile: untold; memory: the GPU is lost; place: no permission to "ask" the driver' in lines
    (lost,) = (line for line in lines if line.startswith("GPU 2: busy, memory used, "))
    assert lost.endswith("slices: the GPU is lost")


def test_status_names_the_nodes_that_tell_nothing() -> None:
    nodes = {"node-1": {"state": "known", "why": ""}, "node-2": {"state": "missing", "why": "connection refused"}}
    page = printed(ALL, nodes)
    assert "node node-2: GPUs: connection refused" in page
    assert "node node-1" not in page
    assert "node node-2: GPUs: connection refused" in printed(Known((), AT), nodes)


def test_without_any_reading_there_is_one_line_with_the_reason() -> None:
    assert printed(Missing("no NVIDIA driver")).strip() == "GPUs: - no NVIDIA driver"
    assert printed(Known((), AT)).strip() == "GPUs: none"
