"""Tests of rules as promtool reads them, made in Python: what is scraped, and which alerts fire when."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from controlplane.domain.conditions import AlertName

STALE = "stale"
"""What a Prometheus puts where a series is not there any more."""


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it; where it is not installed, skip saying so (in CI fail)."""
    program = shutil.which("promtool")
    if program is None:
        why = "no promtool; install the Debian package prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )


def values(samples: Sequence[float | None]) -> str:
    """A series' samples; None: it is not there."""
    told, there = [], False
    for sample in samples:
        missing = STALE if there else "_"
        told.append(missing if sample is None else f"{sample:.12g}")
        there = sample is not None
    return " ".join(told)


Fires: TypeAlias = dict[int, Sequence[Mapping[str, str]]]
"""By step: labels of the alerts of a name that fire then, but for the name."""


@dataclass
class Block:
    """One made-up history, and what it comes to. A step is a sample and an evaluation."""

    name: str
    series: Mapping[str, Sequence[float | None]]
    fires: Mapping[AlertName, Fires] = field(default_factory=dict)
    severity: str = ""
    """Only alerts of it are looked at."""
    equal: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By expression: the step at which it has one sample, and the value."""
    annotations: dict[AlertName, tuple[int, Mapping[str, str], Mapping[str, str]]] = field(default_factory=dict)
    """By alert: the step, its labels and what it says."""

    def test(self, step_s: int) -> dict[str, Any]:
        """As promtool reads it."""
        return {
            "name": self.name,
            "interval": f"{step_s}s",
            "input_series": [{"series": name, "values": values(samples)} for name, samples in self.series.items()],
            "promql_expr_test": [*self._fires(step_s), *self._equal(step_s)],
            "alert_rule_test": [
                {
                    "eval_time": f"{step * step_s}s",
                    "alertname": alert.value,
                    "exp_alerts": [{"exp_labels": dict(labels), "exp_annotations": dict(said)}],
                }
                for alert, (step, labels, said) in self.annotations.items()
            ],
        }

    def _fires(self, step_s: int) -> Iterable[dict[str, Any]]:
        for alert, steps in self.fires.items():
            asked = f'alertname="{alert.value}",alertstate="firing"'
            asked += f',severity="{self.severity}"' if self.severity else ""
            for step, firing in steps.items():
                samples = [
                    {"labels": _labels({"alertname": alert.value, "alertstate": "firing", **labels}), "value": 1}
                    for labels in firing
                ]
                yield {"expr": f"ALERTS{{{asked}}}", "eval_time": f"{step * step_s}s", "exp_samples": samples}

    def _equal(self, step_s: int) -> Iterable[dict[str, Any]]:
        for expression, (step, value) in self.equal.items():
            yield {
                "expr": f"abs(sum({expression}) - {value!r}) < bool 1e-9",
                "eval_time": f"{step * step_s}s",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{value}"' for name, value in labels.items() if value)
    return f"ALERTS{{{told}}}"


def write_tests(path: Path, rules: Mapping[str, str], blocks: Sequence[Block], step_s: int) -> Path:
    """A file of tests beside files of rules; these are evaluated in the order in which they build on each other."""
    groups = []
    for name, text in rules.items():
        (path.parent / name).write_text(text, encoding="utf-8")
        groups += [group["name"] for group in yaml.safe_load(text)["groups"]]
    document = {
        "rule_files": list(rules),
        "evaluation_interval": f"{step_s}s",
        "group_eval_order": groups,
        "tests": [block.test(step_s) for block in blocks],
    }
    path.write_text(json.dumps(document), encoding="utf-8")  # YAML too, and written in no time
    return path
