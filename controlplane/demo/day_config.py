"""The configuration file that the demo writes: what a user would write, with a day's times shortened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from controlplane.demo.day_plan import MODELS, DemoModel
from controlplane.demo.rig import TritonRig

SERVER = "triton"
SCRAPE_S = 1.0
DECIDE_S = 2.0


def write_config(path: Path, rig: TritonRig, *, api_port: int, gateway_port: int, store: Path, day_s: float) -> None:
    """Writes the file for a running rig. `day_s` is the length of the compressed day in seconds."""
    tree = {
        "store": f"sqlite:///{store.absolute()}",
        "mode": "act",
        "scrape": {"interval": _time(SCRAPE_S), "timeout": "900ms"},
        "decide": {"interval": _time(DECIDE_S)},
        "api": {"host": "127.0.0.1", "port": api_port},
        "policy": {
            "scale_down_after": _time(max(8.0, day_s / 12)),
            "backlog_drain": "20s",
            "settle": "5s",
            "ceiling": _time(day_s),
        },
        "servers": [
            {"name": SERVER, "kind": "triton", "http": rig.http_url, "grpc": rig.grpc_url, "metrics": rig.metrics_url}
        ],
        "gateways": [
            {
                "name": "load",
                "page": f"http://127.0.0.1:{gateway_port}/metrics",
                "histogram": "gateway_request_duration_seconds",
                "model_label": "model",
                "code_label": "code",
                "error_codes": "[45]..",
            }
        ],
        "models": [_model(model, day_s) for model in MODELS],
    }
    head = f"# Written by `controlplane demo`: a day in {day_s:.0f} seconds.\n"
    path.write_text(head + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def _model(model: DemoModel, day_s: float) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "name": model.name,
        "runs_on": [SERVER],
        "instances": {"min": model.instances_min, "max": model.instances_max},
        "objectives": [
            {
                "latency": f"{model.threshold_s * 1000:g}ms",
                "target": f"{model.target:.0%}",
                "window": "1h",
                "source": "gateway",
            },
            {"availability": "99%", "window": "1h"},
        ],
    }
    if model.device:
        tree["device"] = model.device
    if model.sleeps:
        tree |= {"idle_unload": _time(day_s / 10), "wake": {"ensure": True}}
    return tree


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"
