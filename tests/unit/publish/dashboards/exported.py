"""Every series there is, with its labels: what our code exports, and what pages of real servers told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from controlplane.act.dry_run import DryRunActuator
from controlplane.act.metered import MeteredActuator
from controlplane.act.retrying import RetryingActuator
from controlplane.domain.decision import Action, Step, Target
from controlplane.publish.metrics.families import FAMILIES

PAGES = Path(__file__).parents[3] / "pages"
RECORDED = ("triton-*.txt", "vllm-*.txt", "dcgm-exporter-*.txt")
OF_SCRAPES = {"job", "instance"}
"""What Prometheus puts on every series that it scrapes."""
OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", re.MULTILINE)


def exported() -> dict[str, set[str]]:
    """Labels by the name of a series."""
    found = {f"{f.name}{'_total' if f.kind == 'counter' else ''}": set(f.labels) for f in FAMILIES}
    for page in (_of_actuators(), *(file.read_text() for pattern in RECORDED for file in PAGES.glob(pattern))):
        for name, labels in _samples(page):
            found.setdefault(name, set()).update(labels)
    return {name: labels | OF_SCRAPES for name, labels in (found | OF_PROMETHEUS).items()}


def counters() -> set[str]:
    """Series that recorded pages declare to be counters."""
    pages = (file.read_text() for pattern in RECORDED for file in PAGES.glob(pattern))
    return {name for page in pages for name in re.findall(r"^# TYPE (\S+) counter$", page, re.MULTILINE)}


def _of_actuators() -> str:
    registry = CollectorRegistry()
    dry = DryRunActuator(DryRunActuator.__new__(DryRunActuator), clock=lambda: 0.0)
    metered = MeteredActuator(RetryingActuator(dry, registry, clock=lambda: 0.0), registry)
    asyncio.run(metered.apply(Action("d-1", "bert", "t0", Step.LOAD, Target(loaded=True, instances=1), 0.0)))
    return generate_latest(registry).decode()


def _samples(page: str) -> Iterator[tuple[str, set[str]]]:
    for name, labels in _SAMPLE.findall(page):
        yield name, set(re.findall(r'([a-zA-Z_]\w*)="', labels))
