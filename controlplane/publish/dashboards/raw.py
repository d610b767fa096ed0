"""Series of the serving processes that the control plane does not republish: a Prometheus that scrapes them has them.

Names as in controlplane/collect/families.py where it has them (publish imports nothing of collect; a test compares),
and all of them in pages recorded of real servers.
"""

from __future__ import annotations

from controlplane.publish.dashboards.queries import INSTANCE, RATE_INTERVAL, Match, like, selector
from controlplane.publish.dashboards.variables import Variable, of_label

BUCKET = "_bucket"
SERVING_JOB = "serving_job"
SERVED = "served"

VLLM_MODEL = "model_name"
VLLM_RUNNING = "vllm:num_requests_running"
VLLM_TTFT = "vllm:time_to_first_token_seconds"
VLLM_ITL = "vllm:inter_token_latency_seconds"
VLLM_E2E = "vllm:e2e_request_latency_seconds"
VLLM_QUEUE = "vllm:request_queue_time_seconds"
VLLM_PREFILL = "vllm:request_prefill_time_seconds"
VLLM_DECODE = "vllm:request_decode_time_seconds"

TRITON_MODEL = "model"
TRITON_SUCCESS = "nv_inference_request_success"
TRITON_REQUEST_SUMMARY = "nv_inference_request_summary_us"
TRITON_QUEUE_SUMMARY = "nv_inference_queue_summary_us"
TRITON_CACHE_USED = "nv_cache_util"
TRITON_CACHE_EVICTIONS = "nv_cache_num_evictions"
QUANTILE = "quantile"


def variables(series: str, model_label: str) -> list[Variable]:
    """Which scraped servers: job, instance, and the model as the server calls it."""
    job = of_label(SERVING_JOB, "Job of the servers", series, label="job")
    of_job = like("job", f"${SERVING_JOB}")
    return [
        job,
        of_label(INSTANCE, "Instance of the servers", series, of_job),
        of_label(SERVED, "Served model", series, of_job, label=model_label),
    ]


def scraped(series: str, model_label: str | None, *where: Match) -> str:
    """Series of the servers chosen."""
    served = [like(model_label, f"${SERVED}")] if model_label else []
    return selector(series, like("job", f"${SERVING_JOB}"), like(INSTANCE, f"${INSTANCE}"), *served, *where)


def bucket_rates(histogram: str, model_label: str) -> str:
    """How fast the buckets of a histogram grow."""
    return f"rate({scraped(f'{histogram}{BUCKET}', model_label)}[{RATE_INTERVAL}])"
