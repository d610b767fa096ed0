"""Every metric and label of the serving processes that is read. Nowhere else is one spelled out.

Sources: Triton docs/user_guide/metrics.md and pages recorded from Triton 2.51; pages recorded from vLLM 0.32.
"""

from __future__ import annotations

from controlplane.domain.objectives import Indicator

BUCKET = "_bucket"
UPPER_EDGE = "le"

TRITON_MODEL = "model"
TRITON_REASON = "reason"
TRITON_SUCCESS = "nv_inference_request_success"
TRITON_FAILURE = "nv_inference_request_failure"
"""Stays after an unload and goes on counting after the next load; all others of a model go."""
TRITON_REQUEST_US = "nv_inference_request_duration_us"
TRITON_QUEUE_US = "nv_inference_queue_duration_us"
TRITON_PENDING = "nv_inference_pending_request_count"
TRITON = frozenset({TRITON_SUCCESS, TRITON_FAILURE, TRITON_REQUEST_US, TRITON_QUEUE_US, TRITON_PENDING})

REASON_BACKEND = "BACKEND"
REASON_CANCELED = "CANCELED"
REASON_OTHER = "OTHER"
REASON_REJECTED = "REJECTED"
"""Timed out while queued. Requests that find the queue full are counted nowhere."""

VLLM_MODEL = "model_name"
VLLM_ENGINE = "engine"
VLLM_FINISHED = "finished_reason"
VLLM_SLEEP_STATE = "sleep_state"
VLLM_AWAKE = "awake"
VLLM_FINISHED_ABORT = "abort"
VLLM_FINISHED_ERROR = "error"
VLLM_RUNNING = "vllm:num_requests_running"
VLLM_WAITING = "vllm:num_requests_waiting"
VLLM_KV_CACHE_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""New name first; the old one is gone since about 0.12. A fraction 0 to 1 in spite of its name."""
VLLM_SLEEP = "vllm:engine_sleep_state"
VLLM_SUCCESS = "vllm:request_success_total"
VLLM_REJECTED = "vllm:admission_rejections_total"
VLLM_E2E_S = "vllm:e2e_request_latency_seconds"
VLLM_QUEUE_S = "vllm:request_queue_time_seconds"
VLLM_HISTOGRAMS = {
    Indicator.TTFT: ("vllm:time_to_first_token_seconds",),
    Indicator.INTER_TOKEN_LATENCY: ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
    Indicator.E2E: (VLLM_E2E_S,),
    Indicator.QUEUE_TIME: (VLLM_QUEUE_S,),
}
"""Histogram families by indicator, new name first (inter-token latency was renamed in 0.11)."""
VLLM = frozenset(
    {VLLM_RUNNING, VLLM_WAITING, VLLM_SLEEP, VLLM_SUCCESS, VLLM_REJECTED, *VLLM_KV_CACHE_USAGE}
    | {f"{family}{BUCKET}" for names in VLLM_HISTOGRAMS.values() for family in names}
    | {f"{family}_sum" for family in (VLLM_E2E_S, VLLM_QUEUE_S)}
)
