"""The configuration of a simulated fleet: each model on a workload of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.domain.fleet import (
    Fleet,
    KubernetesQuery,
    Mode,
    ModelSpec,
    Ports,
    Quota,
    ReplicaBounds,
    ServerKind,
    WorkloadSpec,
)
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.sim.peers.perf_model import Slo
from controlplane.sim.peers.setting import LlmSetting, Setting

_WINDOW_S = 28 * 86400.0
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Served:
    """A model, what its replicas are, and how it stands beside others."""

    setting: Setting
    priority: int = 0

    @property
    def max_batch(self) -> int:
        """Of servers that execute batches; 0 of those that generate tokens."""
        return 0 if isinstance(self.setting, LlmSetting) else self.setting.model.service.max_batch


def fleet_of(served: Mapping[str, Served], target: float, quota: Quota) -> Fleet:
    """Workloads by name. `target`: the share of requests that the objectives ask for."""
    models, workloads = [], []
    for name, one in served.items():
        if isinstance(one.setting, LlmSetting):
            objectives, kind = _token_objectives(one.setting.slo, target), ServerKind.VLLM
        else:
            goal = Objective(Indicator.LATENCY, target, _WINDOW_S, IndicatorSource.GATEWAY, one.setting.slo.latency_s)
            objectives, kind = (goal,), ServerKind.TRITON
        workload = WorkloadSpec(
            name,
            kind,
            KubernetesQuery("sim", pods=f"app={name}"),
            Ports(8000, 8001, 8002),
            replicas=ReplicaBounds(1, _MOST),
            gpus_per_replica=one.setting.model.service.gpus,
        )
        model = f"{name}-model"
        models.append(ModelSpec(model, model, (), Mode.ACT, objectives, workloads=(name,), priority=one.priority))
        workloads.append(workload)
    return Fleet((), tuple(models), workloads=tuple(workloads), quota=quota)


def _token_objectives(slo: Slo, target: float) -> tuple[Objective, ...]:
    server = IndicatorSource.SERVER
    return (
        Objective(Indicator.TTFT, target, _WINDOW_S, server, slo.ttft_s),
        Objective(Indicator.INTER_TOKEN_LATENCY, target, _WINDOW_S, server, slo.itl_s),
    )
