"""What a server lets be done with its models, and how it is to be started so that it does."""

from __future__ import annotations

from controlplane.domain.fleet import Fleet, ServerKind, workload_of
from controlplane.domain.observation import ControlMode

_TRITON = "start Triton with --model-control-mode=explicit"
SLEEP_REMEDY = "start vLLM with VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode, its port closed to clients' networks"
LORA_REMEDY = "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora"


def lacking(kind: ServerKind, mode: ControlMode | None, *, adapter: bool) -> str:
    """How to start the server so that it lets a model be controlled; empty: it does, or it is not known yet.

    `adapter`: the model is a LoRA adapter, which a vLLM allows apart from sleep.
    """
    if kind is not ServerKind.VLLM:
        return _TRITON if mode is ControlMode.NOT_ALLOWED else ""
    without = (ControlMode.NOT_ALLOWED, ControlMode.SLEEP_ONLY if adapter else ControlMode.ADAPTERS_ONLY)
    return (LORA_REMEDY if adapter else SLEEP_REMEDY) if mode in without else ""


def replicas_decided(fleet: Fleet, server: str) -> bool:
    """Whether the server is one of a workload whose replicas are decided."""
    workload = fleet.workload(workload_of(server))
    return workload is not None and workload.replicas is not None
