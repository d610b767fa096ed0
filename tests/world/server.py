"""A simulated Triton: answers as one does, forgets as one does, and fails when told to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from controlplane.collect import families
from controlplane.collect.counters import Executed, Executions
from controlplane.collect.exposition import parse
from controlplane.collect.http import REFUSED
from controlplane.collect.triton.round import TritonRound
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import IndexEntry, ModelConfig, ModelSeries, read_config, read_series
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.observation import ControlMode, ModelState
from tests.world.batcher import Machine, SimModel

OUTAGES = ("server", "port", "nan", "truncated", "gone", "index", "hang", "stats", "config")
"""server: refuses everything; port: the metrics port is wrong; nan, truncated, gone: the page holds NaN, is cut in the
middle of a line, lacks the models; index, stats, config: not answered; hang: nothing is answered in time."""


@dataclass
class SimTriton:
    """One server; its models are loaded only on request, as in explicit mode."""

    name: str
    models: Sequence[SimModel]
    now: float
    control: ControlMode = ControlMode.EXPLICIT
    outages: set[str] = field(default_factory=set)
    memory: dict[str, int] = field(default_factory=dict)
    """Most instances of a model that fit."""
    failing_loads: dict[str, FailureClass] = field(default_factory=dict)
    starts: int = 1

    def __post_init__(self) -> None:
        self.machine = Machine(self.models, self.now)

    def model(self, name: str) -> SimModel:
        """By name."""
        return next(m for m in self.models if m.name == name)

    def restart(self, at: float) -> None:
        """Another process: nothing loaded, nothing counted, nothing remembered."""
        self.starts += 1
        self.machine.crash()
        for model in self.models:
            if model.loaded:
                model.down(at)
            model.touched = model.loading = False
            model.failures = model.dead = 0

    def answer(self, at: float) -> TritonRound:
        """One round of questions."""
        if self.outages & {"server", "hang"}:
            error = TargetUnreachableError(self.name, REFUSED if "server" in self.outages else "timed out after 2 s")
            return TritonRound(at, error, error, error, {})
        unanswered = TargetUnreachableError(self.name, "timed out after 2 s")
        index = unanswered if "index" in self.outages else {m.name: _entry(m) for m in self.models}
        ready = [m for m in self.models if m.loaded and not m.loading and index is not unanswered]
        return TritonRound(
            at,
            index,
            self._series(),
            unanswered if "stats" in self.outages else {m.name: _executions(m) for m in self.models if m.loaded},
            {m.name: unanswered if "config" in self.outages else _config(m) for m in ready},
        )

    def _series(self) -> dict[str, ModelSeries] | ControlPlaneError:
        if "port" in self.outages:
            return TargetUnreachableError(self.name, REFUSED)
        text = self._page()
        if "truncated" in self.outages:
            text = text[: len(text) // 2]
        try:
            return read_series(parse(text, TRITON.wanted))
        except MalformedPageError as error:
            return error

    def _page(self) -> str:
        lines = ["# TYPE nv_inference_request_success counter"]
        nan = "nan" in self.outages
        for model in self.models:
            labels = f'{{model="{model.name}",version="1"}}'
            values = {
                families.TRITON_SUCCESS: model.success,
                families.TRITON_REQUEST_US: model.request_s * 1e6,
                families.TRITON_QUEUE_US: model.queue_s * 1e6,
                families.TRITON_PENDING: len(model.waiting),
            }
            if model.loaded and "gone" not in self.outages:
                lines += [f"{family}{labels} {'NaN' if nan else repr(value)}" for family, value in values.items()]
            if model.touched:
                failed = f'{{model="{model.name}",version="1",reason="BACKEND"}}'
                lines.append(f"{families.TRITON_FAILURE}{failed} {model.failures}")
        return "\n".join(lines) + "\n"


def _entry(model: SimModel) -> IndexEntry:
    if model.loading and not model.loaded:
        return IndexEntry(ModelState.LOADING, touched=True)
    if model.loaded:
        return IndexEntry(ModelState.READY, touched=True)
    return IndexEntry(ModelState.UNLOADED, touched=model.touched)


def _executions(model: SimModel) -> Executions:
    sizes = model.executions.items()
    return {("1", size): Executed(times, round(model.compute_s[size] * 1e9)) for size, times in sizes}


def _config(model: SimModel) -> ModelConfig:
    group: dict[str, object] = {"kind": "KIND_CPU", "count": model.count}
    if model.gpus:
        group = {"kind": "KIND_GPU", "count": model.count // model.gpus, "gpus": list(range(model.gpus))}
    config = {"max_batch_size": model.max_batch, "dynamic_batching": {}, "instance_group": [group]}
    return read_config(json.dumps(config).encode())
