"""Fixed addresses of the dashboards, and links between them."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.publish.dashboards.panels import Drill

FLEET = "cp-fleet"
SLO = "cp-slo"
AUTOSCALER = "cp-autoscaler"
TRITON = "cp-triton"
VLLM = "cp-vllm"
GPU = "cp-gpu"
COST = "cp-cost"
CONTROL_PLANE = "cp-control-plane"

_M, _S = names.MODEL, names.SERVER

MODEL_SLO = Drill(SLO, "Objectives of this model", (_M,))
ONE_SLO = Drill(SLO, "This objective", (_M, names.OBJECTIVE))
MODEL_SCALING = Drill(AUTOSCALER, "Scaling of this model", (_M,))
UNIT_SCALING = Drill(AUTOSCALER, "Scaling of this model on this server", (_M, _S))
MODEL_COST = Drill(COST, "Cost of this model", (_M,))
ONE_TRITON = Drill(TRITON, "This server, if it is a Triton", (_S,))
ONE_VLLM = Drill(VLLM, "This server, if it is a vLLM", (_S,))
ONE_GPU = Drill(GPU, "This GPU", (names.NODE, names.GPU))
TO_SLO = Drill(SLO, "Objectives")
TO_SCALING = Drill(AUTOSCALER, "Scaling")
TO_GPU = Drill(GPU, "GPUs")
TO_COST = Drill(COST, "Cost")
TO_CONTROL_PLANE = Drill(CONTROL_PLANE, "Health of the control plane")
