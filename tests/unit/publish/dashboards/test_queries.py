"""What the queries give where two replicas export the same things, judged by promtool in one call."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.domain import names
from controlplane.domain.observation import Counter
from controlplane.publish.dashboards.marks import OR_ALL
from controlplane.publish.dashboards.queries import Own, is_, largest, share, total
from tests.dashboard_lint import filled_in

REQUESTS = names.MODEL_COUNTERS[Counter.REQUESTS]
OWN = Own(names.MODEL, names.SERVER)
CHOSEN = {"model": "bert", "server": ".+", "job": ".+", "__rate_interval": "5m", "__range": "5m"}


def twice(name: str, values: str, **labels: str) -> list[dict[str, str]]:
    """The series of two replicas."""
    shown = "".join(f', {label}="{value}"' for label, value in labels.items())
    return [{"series": f'{name}{{job="cp", instance="{at}"{shown}}}', "values": values} for at in ("a:1", "b:1")]


SERIES = [
    *twice(f"{REQUESTS}_total", "0+60x20", model="bert", server="t0", outcome="success"),
    *twice(f"{REQUESTS}_total", "0+60x20", model="bert", server="t1", outcome="success"),
    *twice(f"{REQUESTS}_total", "7x20", model="quiet", server="t0", outcome="success"),
    *twice(names.MODEL_PENDING, "3x20", model="bert", server="t0"),
    *twice(names.MODEL_PENDING, "4x20", model="bert", server="t1"),
    *twice(names.MODEL_PENDING, "9x20", model="other", server="t1"),
    *twice(names.FREEZES_ACTIVE, "1x20", model="*"),
    *twice(names.FREEZES_ACTIVE, "0x20", model="bert"),
    *twice(names.FREEZES_ACTIVE, "1x20", model="other"),
    *twice(names.CONDITION, "1x20", alert="GpuXid", gpu="GPU-1"),
    *twice(names.CONDITION, "1x20", alert="ServerDown", model="bert", server="t0"),
    *twice(names.CONDITION, "1x20", alert="ServerDown", model="other", server="t0"),
    *twice(f"{names.TICKS}_total", "0+4x20"),
    *twice(names.LEADING, "1x20"),
    {"series": f'{names.GPU_S}_total{{job="cp", instance="a:1", node="n", gpu="g"}}', "values": "100+60x5 stale"},
    {"series": f'{names.GPU_S}_total{{job="cp", instance="b:1", node="n", gpu="g"}}', "values": "_x6 0+60x20"},
]

_ALL = CHOSEN | {"model": ".+"}
_ASKED = total(OWN.rate(REQUESTS), names.MODEL)
CASES: dict[str, tuple[str, Mapping[str, str], dict[str, float]]] = {
    "a rate over servers": (_ASKED, CHOSEN, {'{model="bert"}': 2}),
    "growth over the time shown": (total(OWN.grown(REQUESTS)), CHOSEN, {"{}": 600}),
    "growth over the time shown, of two replicas one after the other": (
        total(OWN.grown(names.GPU_S)),
        CHOSEN | {"__range": "15m"},
        {"{}": 840},
    ),
    "a gauge over servers, of the model chosen": (total(OWN.now(names.MODEL_PENDING)), CHOSEN, {"{}": 7}),
    "the largest of all": (largest(OWN.now(names.MODEL_PENDING)), _ALL, {"{}": 9}),
    "no share where there is no traffic": (
        share(total(OWN.rate(REQUESTS, is_(names.OUTCOME, "success")), names.MODEL), _ASKED),
        _ALL,
        {'{model="bert"}': 1},
    ),
    "freezes of the model and of all": (
        largest(OWN.now(names.FREEZES_ACTIVE, OR_ALL), names.MODEL),
        CHOSEN,
        {'{model="*"}': 1, '{model="bert"}': 0},
    ),
    "conditions of the model and of none": (
        largest(OWN.now(names.CONDITION), names.ALERT),
        CHOSEN,
        {'{alert="GpuXid"}': 1, '{alert="ServerDown"}': 1},
    ),
    "one figure without labels": (OWN.rate(names.TICKS), CHOSEN, {"{}": 4 / 60}),
    "replicas apart": (total(Own(replicas=True).now(names.LEADING)), CHOSEN | {"instance": ".+"}, {"{}": 2}),
}


def test_queries_merge_replicas_and_filter_as_chosen(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    tests: list[dict[str, Any]] = [
        {
            "expr": filled_in(expr, values),
            "eval_time": "15m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
        }
        for expr, values, expected in CASES.values()
    ]
    document = {"rule_files": [], "tests": [{"interval": "1m", "input_series": SERIES, "promql_expr_test": tests}]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_told_apart_already_is_not_folded_again() -> None:
    now = OWN.now(names.MODEL_PENDING)
    assert largest(now, names.MODEL, names.SERVER) == now
    assert total(now, names.MODEL) == f"sum by (model) ({now})"
