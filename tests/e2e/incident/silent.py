"""What gives nothing over the incident, by the reason; all else gives something."""

from __future__ import annotations

from collections.abc import Mapping

QUERIES: Mapping[str, tuple[str, ...]] = {
    "Prometheus sends the alerts here": ("cp-control-plane: panel 'Posts of alerts', query A",),
    "the objectives are of an hour, whose alerts have windows of 15 min": (
        "cp-slo: panel 'Burn rate, 1h', query C",
        "cp-slo: panel 'Burn rate, 6h', query B",
    ),
    "MIG is not in mode act": ("cp-gpu: panel 'Steps of MIG changes', query A",),
    "this Triton has no response cache": (
        "cp-triton: panel 'Cache evictions', query A",
        "cp-triton: panel 'Response cache hits', query A",
        "cp-triton: panel 'Response cache in use', query A",
    ),
    "this Triton has no pinned memory": ("cp-triton: panel 'Pinned memory in use', query A",),
    "Triton 2.51 does not tell how long a load took": ("cp-triton: panel 'Time of the newest load', query A",),
    "the recorded vLLM has no adapters and is awake": (
        "cp-vllm: panel 'Asleep', query A",
        "cp-vllm: panel 'LoRA adapters', query A",
        "cp-vllm: panel 'LoRA adapters', query B",
    ),
}
"""By dashboard and place, as dashboard_lint names them."""

RULES: Mapping[str, tuple[str, ...]] = {
    "nothing of the kind happened": (
        "GpuThrottled",
        "GpuXid",
        "MigChangeFailed",
        "MigResetPending",
        "ModelFailing",
        "ModelLoadFailed",
        "OverrideEnding",
        "ServerDown",
    ),
    "the control plane was well": ("ControlPlaneDown", "ControlPlaneNotLeading", "StoreFailing"),
    "these models were well": (
        "ErrorBudgetBurn bert_classifier availability_server page",
        "ErrorBudgetBurn bert_classifier availability_server ticket",
        "ErrorBudgetBurn llama-8b ttft_1000ms_server page",
        "ErrorBudgetBurn llama-8b ttft_1000ms_server ticket",
    ),
}
"""By name, those of one objective by its labels too."""

EITHER = frozenset(
    {
        "CapacityRefused",
        "ControlPlaneLate",
        "ObjectiveUnmeasured",
        "ScalingFlapping",
        "StartupSlow",
        "cp-autoscaler: panel 'Actions under way', query A",
    }
)
"""What hangs on how fast the machine is: most actions end between two scrapes, and long good times hide the dark."""
