"""GPUs and slices as the API shows them and as `status` prints them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controlplane.api.views.gpus import gpus_view
from controlplane.cli.gpu_tables import gpus_table
from controlplane.collect.gpu.dcgm import gpus_of_dcgm
from controlplane.collect.gpu.gpus import Gpus, aged_gpus
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.signal import Known, Missing
from controlplane.domain.sources import AgentSpec
from tests.unit.agent.readings import AT, CUT, LOST, WHOLE

ALL: Gpus = Known((WHOLE, replace(CUT, node="node-1"), replace(LOST, node="node-1")), AT)
FLEET = Fleet(
    (
        ServerSpec(
            "bert", ServerKind.TRITON, "http://localhost:8000", "http://localhost:8002/metrics", "localhost:8001"
        ),
    ),
    (),
    agents=(AgentSpec("node-1", "http://node-1:8901/metrics"),),
)
DCGM = (Path(__file__).parents[2] / "pages/dcgm-exporter-documented.txt").read_text()


def view(gpus: Gpus, now: float = AT + 3) -> dict[str, Any]:
    return gpus_view(gpus, FLEET, now).model_dump(mode="json")


@pytest.fixture(params=[80, 140])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Columns of what stands for the terminal."""
    columns: int = request.param
    monkeypatch.setenv("COLUMNS", str(columns))
    return columns


def printed(gpus: Gpus, width: int, nodes: dict[str, Any] | None = None, now: float = AT + 3) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(gpus_table(view(gpus, now), nodes or {}))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def rows(page: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in page.splitlines()]


def sentences(page: str) -> str:
    """All of it on one line."""
    return " ".join(page.split())


def test_the_api_shows_slices_processes_and_the_node() -> None:
    whole, cut, lost = view(ALL)["value"]
    assert (whole["node"], cut["node"]) == ("", "node-1")
    assert whole["throttle_reasons"]["value"] == ["sw_power_cap", "hw_thermal"]
    assert whole["processes"]["value"][1]["memory_used_bytes"]["why"] == "the driver does not tell it"
    assert (whole["sm_utilisation"]["value"], cut["sm_utilisation"]["value"]) == (0.25, None)
    first, second = cut["slices"]["value"]
    assert first["profile"] == {"state": "known", "value": "3g.71gb", "age_s": 3.0, "why": ""}
    assert first["placement"]["value"] == {"start": 0, "size": 4}
    assert [first[key]["value"] for key in ("utilisation", "sm_utilisation", "bandwidth_utilisation")] == [
        0.9,
        0.8,
        0.1,
    ]
    assert (second["placement"]["state"], second["memory_total_bytes"]["why"]) == ("missing", "the GPU is lost")
    assert second["compute_instance"] is None
    assert cut["processes"]["value"][0]["slice"] == "MIG-0000"
    assert lost["slices"] == {"state": "missing", "value": None, "age_s": None, "why": "the GPU is lost"}


def test_the_api_shows_the_server_of_a_process_and_what_tells_it() -> None:
    first, second = view(ALL)["value"][0]["processes"]["value"]
    assert first["server"] == {"state": "known", "value": "bert", "age_s": 3.0, "why": ""}
    assert first["ports"]["value"] == [8001, 8000]
    assert second["server"]["why"] == "its pod is none of the discovered servers"
    assert (second["ports"]["why"], second["pod_uid"]["state"]) == ("denied", "known")


def test_what_is_old_is_stale_down_to_the_slice_and_the_server() -> None:
    old = view(aged_gpus(ALL, AT + 60, 15, "connection refused"), AT + 60)
    assert old["state"] == "stale"
    piece = old["value"][1]["slices"]["value"][0]
    assert (piece["memory_used_bytes"]["value"], piece["memory_used_bytes"]["why"]) == (1000, "connection refused")
    assert (piece["sm_utilisation"]["state"], piece["sm_utilisation"]["value"]) == ("stale", 0.8)
    assert old["value"][0]["processes"]["value"][0]["server"]["state"] == "stale"


def test_each_gpu_and_each_slice_below_it_is_a_row_with_its_age(width: int) -> None:
    page = printed(ALL, width)
    assert max(map(len, page.splitlines())) <= width
    wide = width >= 120
    tensor, clock, name, place = (["12%"], ["1980", "MHz"], ["H200"], ["at", "0+4"]) if wide else ([], [], [], [])
    shown = rows(page)
    used = ["1.0/139.7", "250", "W", "41", "°C", *clock, "bert,", "1", "other"]
    assert ["GPU", "0", *name, "3", "s", "37%", "25%", *tensor, "50%", *used] in shown
    tensor = ["0%"] if wide else []
    figures = ["3", "s", "90%", "80%", *tensor, "10%", "0.0/70.8", "1", "other"]
    assert ["slice", "2", "3g.71gb", *place, *figures] in shown
    gpus = [row[:3] for row in shown if row[:1] in (["GPU"], ["node-1"], ["slice"])][:4]
    assert gpus[0][:2] == ["GPU", "0"]
    assert gpus[1][:2] == ["node-1", "1"]
    assert [row[:2] for row in gpus[2:]] == [["slice", "2"], ["slice", "9"]]


def test_what_is_wrong_with_a_gpu_stands_below(width: int) -> None:
    page = sentences(printed(ALL, width))
    assert "GPU 0: throttled by sw_power_cap, hw_thermal; 2 uncorrected ECC errors; last XID error 79" in page
    assert "node-1 1: throttled" not in page
    cut_into_nothing = replace(CUT, slices=Known((), AT), processes=Known((), AT))
    assert "GPU 1: MIG is on, and there is no slice" in sentences(printed(Known((cut_into_nothing,), AT), width))


def test_status_says_why_something_is_missing(width: int) -> None:
    page = sentences(printed(ALL, width))
    mig = "busy, SMs, tensor cores, bandwidth: not told while MIG is on"
    assert f'node-1 1: power: no permission to "ask" the driver; {mig} ' in page
    assert "node-1 1 slice 9: profile: untold; memory total: the GPU is lost; place: no permission" in page
    assert "node-1 2: everything: the GPU is lost" in page
    assert "GPU 0 process 4243: server: its pod is none of the discovered servers" in page
    assert "node-1 1 process 77: server: neither it nor a process above it listens" in page


def test_gpus_that_lack_the_same_share_a_line(width: int) -> None:
    page = sentences(printed(Known((LOST, replace(LOST, index=3)), AT), width))
    assert page.endswith("GPU 2, GPU 3: everything: the GPU is lost")


def test_a_node_that_does_not_answer_any_more_shows_its_last_figures_and_why_they_are_old(width: int) -> None:
    old = aged_gpus(gpus_of_dcgm(DCGM, "node-1", AT), AT + 90, 15, "connection refused")
    page = printed(old, width, now=AT + 90)
    assert "1 min 87% 75%" in sentences(page)
    told = "processes, MIG after a reset: DCGM's exporter does not tell it; everything else: connection refused"
    assert f"node-1 0: {told}" in sentences(page)


def test_status_names_the_nodes_that_tell_nothing(width: int) -> None:
    nodes = {"node-1": {"state": "known", "why": ""}, "node-2": {"state": "missing", "why": "connection refused"}}
    page = printed(ALL, width, nodes)
    assert "node node-2: GPUs: connection refused" in page
    assert "node node-1" not in page
    assert "node node-2: GPUs: connection refused" in printed(Known((), AT), width, nodes)


def test_without_any_reading_there_is_one_line_with_the_reason(width: int) -> None:
    assert printed(Missing("no NVIDIA driver"), width).strip() == "GPUs: - no NVIDIA driver"
    assert printed(Known((), AT), width).strip() == "GPUs: none"


def test_a_name_from_elsewhere_is_no_markup(width: int) -> None:
    odd = replace(WHOLE, name="[red]X\x1b[2J", node="[b]n")
    page = printed(Known((odd,), AT), width)
    assert "[red]X" in page
    assert "[b]n 0" in page
    assert "\x1b" not in page
