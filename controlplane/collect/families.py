"""Every metric and label of the serving processes that is read. Nowhere else is one spelled out.

What each of them tells is in triton_signals.py and vllm_signals.py; a series that is not there is not read.
Sources: Triton docs/user_guide/metrics.md and pages recorded from Triton 2.51; pages recorded from vLLM 0.32.
"""

from __future__ import annotations

from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Counter, HostGauge, SleepState

BUCKET = "_bucket"
COUNT = "_count"
SUM = "_sum"
UPPER_EDGE = "le"

TRITON_MODEL = "model"
TRITON_REASON = "reason"
TRITON_VERSION = "version"
TRITON_SUCCESS = "nv_inference_request_success"
TRITON_FAILURE = "nv_inference_request_failure"
"""Stays after an unload and goes on counting after the next load; all others of a model go."""
TRITON_REQUEST_US = "nv_inference_request_duration_us"
TRITON_QUEUE_US = "nv_inference_queue_duration_us"
TRITON_PENDING = "nv_inference_pending_request_count"
TRITON_INFERENCES = "nv_inference_count"
TRITON_EXECUTIONS = "nv_inference_exec_count"
TRITON_COMPUTE_US = {
    "input": "nv_inference_compute_input_duration_us",
    "infer": "nv_inference_compute_infer_duration_us",
    "output": "nv_inference_compute_output_duration_us",
}
"""By phase."""
TRITON_CACHE = {"hit": "nv_cache_num_hits_per_model", "miss": "nv_cache_num_misses_per_model"}
"""By result."""
TRITON_LOAD_S = "nv_model_load_duration_secs"
TRITON_FIRST_RESPONSE_MS = "nv_inference_first_response_histogram_ms"
"""Of decoupled models only."""
TRITON_GPU = "gpu_uuid"
TRITON_HOST = {
    HostGauge.PINNED_MEMORY_USED: "nv_pinned_memory_pool_used_bytes",
    HostGauge.PINNED_MEMORY_TOTAL: "nv_pinned_memory_pool_total_bytes",
    HostGauge.CPU_UTILISATION: "nv_cpu_utilization",
    HostGauge.CPU_MEMORY_USED: "nv_cpu_memory_used_bytes",
    HostGauge.CPU_MEMORY_TOTAL: "nv_cpu_memory_total_bytes",
    HostGauge.GPU_UTILISATION: "nv_gpu_utilization",
    HostGauge.GPU_MEMORY_USED: "nv_gpu_memory_used_bytes",
    HostGauge.GPU_MEMORY_TOTAL: "nv_gpu_memory_total_bytes",
}

REASON_BACKEND = "BACKEND"
REASON_CANCELED = "CANCELED"
REASON_OTHER = "OTHER"
REASON_REJECTED = "REJECTED"
"""Timed out while queued. Requests that find the queue full are counted nowhere."""

VLLM_MODEL = "model_name"
VLLM_ENGINE = "engine"
VLLM_FINISHED = "finished_reason"
VLLM_REASON = "reason"
VLLM_SLEEP_STATE = "sleep_state"
VLLM_SLEEP_STATES = {
    "awake": SleepState.AWAKE,
    "weights_offloaded": SleepState.WEIGHTS_OFFLOADED,
    "discard_all": SleepState.DISCARDED,
}
"""From awake to the deepest."""
VLLM_FINISHED_ABORT = "abort"
VLLM_FINISHED_ERROR = "error"
VLLM_RUNNING = "vllm:num_requests_running"
VLLM_WAITING = "vllm:num_requests_waiting"
VLLM_WAITING_BY_REASON = "vllm:num_requests_waiting_by_reason"
VLLM_KV_CACHE_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""New name first; the old one is gone since about 0.12. A fraction 0 to 1 in spite of its name."""
VLLM_CACHE_CONFIG = "vllm:cache_config_info"
VLLM_CACHE_TOKENS = "kv_cache_size_tokens"
VLLM_CACHE_BLOCKS = "num_gpu_blocks"
VLLM_CACHE_BLOCK_SIZE = "block_size"
VLLM_LORA = "vllm:lora_requests_info"
"""Its value is the unix time of its last change, and old label sets stay: the largest value is the newest."""
VLLM_LORA_SLOTS = "max_lora"
VLLM_LORA_RUNNING = "running_lora_adapters"
VLLM_LORA_WAITING = "waiting_lora_adapters"
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
VLLM_TOKENS = {
    Counter.PROMPT_TOKENS: ("vllm:prompt_tokens_total",),
    Counter.GENERATION_TOKENS: ("vllm:generation_tokens_total",),
    Counter.PREEMPTIONS: ("vllm:num_preemptions_total",),
    Counter.PREFIX_QUERIES: ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    Counter.PREFIX_HITS: ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    Counter.ENDED: (f"vllm:request_prompt_tokens{COUNT}",),
    Counter.ENDED_PROMPT: (f"vllm:request_prompt_tokens{SUM}",),
    Counter.ENDED_GENERATION: (f"vllm:request_generation_tokens{SUM}",),
    Counter.ITL_COUNT: tuple(f"{name}{COUNT}" for name in VLLM_HISTOGRAMS[Indicator.INTER_TOKEN_LATENCY]),
    Counter.ITL_S: tuple(f"{name}{SUM}" for name in VLLM_HISTOGRAMS[Indicator.INTER_TOKEN_LATENCY]),
}
"""New names first; old ones were deprecated in 0.9 and 0.11."""
