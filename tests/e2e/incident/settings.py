"""What the control planes of the incident are told, and what `controlplane rules` makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from controlplane.demo.rig import TritonRig
from tests.e2e.incident.gateway import HISTOGRAM, Gateway
from tests.e2e.plane import Plane, config

RECOVERS, GOES_DARK, SCALED, LLAMA = "sorter", "ranker", "bert_classifier", "llama-8b"
SLOW = (RECOVERS, GOES_DARK)
TARGET, WINDOW_S = 0.85, 3600.0
GROUP_WAIT_S, END_AFTER_S = 1.0, 5.0


def tree(rig: TritonRig, gateways: Iterable[Gateway], prometheus: str) -> dict[str, Any]:
    """The configuration, without what is to be done and who is told."""
    gateways = tuple(gateways)
    bounds = {"min": 1, "max": 2}
    models = [
        {"name": gateway.model, "team": "web", "instances": bounds, "objectives": list(_objectives(gateway.model))}
        for gateway in gateways
    ]
    scaled = {"name": SCALED, "instances": {"min": 1, "max": 4}, "objectives": [_hour(availability="99%")]}
    llama = {"name": LLAMA, "served_name": "tiny", "runs_on": ["llama"], "objectives": [_hour(ttft="1s", target="90%")]}
    found = {"source": "prom", "where": {"job": "vllm"}, "through": False}
    return config(
        rig,
        [*models, scaled, llama],
        prometheus=[{"name": "prom", "url": prometheus, "interval": "1s"}],
        workloads=[{"name": "llama", "kind": "vllm", "prometheus": found}],
        gateways=[
            {"name": f"edge-{gateway.model}", "page": gateway.page, "histogram": HISTOGRAM, "code_label": "code"}
            for gateway in gateways
        ],
        cost={"currency": "EUR", "gpu_hour": 2.5},
    )


def _objectives(model: str) -> Iterable[dict[str, Any]]:
    """Two that the same fault breaks, so that a page has something to group."""
    for threshold in ("200ms", "350ms"):
        yield _hour(latency=threshold, target=f"{TARGET:.0%}", source="gateway", gateway=f"edge-{model}")


def _hour(**objective: str) -> dict[str, Any]:
    return {**objective, "window": "1h"}


def alerts(way: str, receiver: str, **more: Any) -> dict[str, Any]:
    """The block `alerts`: one team, told at paths of the receiver that name the way and the severity."""
    told = {severity: [{"webhook": f"{receiver}{way}/{severity}"}] for severity in ("page", "ticket", "info")}
    return {
        "teams": [{"name": "web", **told}],
        "escalation": "web",
        "runbooks_url": "https://git.example.org/runbooks",
        "dashboards_url": "https://grafana.example.org",
        **more,
    }


def written(plane: Plane) -> Path:
    """The folder of what `controlplane rules` makes for a control plane; what waits for people waits less long."""
    folder = plane.folder / "alerts"
    ran = plane.cli("rules", "--config", str(plane.config), "--out", str(folder))
    assert ran.returncode == 0, ran.stderr
    for name, usual, sooner in (
        ("alertmanager.yml", "group_wait: 30s", f"group_wait: {GROUP_WAIT_S:g}s"),
        ("alertmanager.yml", "group_interval: 1m", "group_interval: 1s"),
        ("alerts.yml", "keep_firing_for: 2m", f"keep_firing_for: {END_AFTER_S:g}s"),
    ):
        file = folder / name
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(usual, sooner), encoding="utf-8")
    return folder
