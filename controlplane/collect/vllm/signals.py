"""Every signal of a vLLM, and every family of its metrics page that is left alone."""

from __future__ import annotations

from controlplane.collect import families as f
from controlplane.collect.signals import PROBES, Backend, Ignored, Kind, Resets, Row, Series, series, suffixed
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Counter

_UNCOVERED = "No interval: the time is uncovered, neither good nor bad. No decision lowers anything on it."
_DASHBOARDS = "Shown as missing, with why; no decision rests on it."
_OLD = {
    "vllm:gpu_cache_usage_perc": "deprecated in 0.9, gone since about 0.12",
    "vllm:gpu_prefix_cache_queries_total": "deprecated in 0.9, gone since about 0.12",
    "vllm:gpu_prefix_cache_hits_total": "deprecated in 0.9, gone since about 0.12",
    "vllm:time_per_output_token_seconds": "deprecated in 0.11, gone since about 0.13",
}
_MEANINGS = {
    Indicator.TTFT: "time to the first token",
    Indicator.INTER_TOKEN_LATENCY: "time between tokens",
    Indicator.E2E: "time from arrival to the last token",
    Indicator.QUEUE_TIME: "time waited in the queue; the lowest edge is 0.3 s",
}


def _histogram(indicator: Indicator) -> Row:
    names = f.VLLM_HISTOGRAMS[indicator]
    return Row(
        (f"LatencyInterval[{indicator.value}]",),
        _MEANINGS[indicator],
        "s",
        Kind.HISTOGRAM,
        Resets.PROCESS,
        "Uncovered: an objective on it measures nothing. A bucket that is no number makes the page malformed.",
        tuple(Series(f"{name}{f.BUCKET}", _OLD.get(name, "")) for name in names),
        alternatives=len(names) > 1,
    )


def _tokens(counter: Counter, field: str, meaning: str, unit: str = "tokens") -> Row:
    names = f.VLLM_TOKENS[counter]
    families = [name.removesuffix(f.COUNT).removesuffix(f.SUM) for name in names]
    return Row(
        (f"Interval.tokens.{field}", f"ModelReading.counters[{counter.value}]"),
        meaning,
        unit,
        Kind.COUNTER,
        Resets.PROCESS,
        "None in its place, and absent from the metrics page; requests are counted all the same.",
        tuple(Series(name, _OLD.get(family, "")) for name, family in zip(names, families, strict=True)),
        alternatives=len(names) > 1,
    )


_SERVER = (
    Row(
        ("ServerReading.live",),
        "the metrics page answers; not that it generates: `/health` and the page of a sleeping one answer too",
        "yes or no",
        Kind.ANSWER,
        Resets.NOTHING,
        "Not asked yet: hold.",
        source="/metrics",
    ),
    Row(
        ("ServerReading.incarnation", "Interval.began_anew"),
        "restarts noticed: counters of requests or tokens fell; of an interval, that they did inside it",
        "restarts",
        Kind.COUNTER,
        Resets.PROCESS,
        "A restart that no counter tells is not noticed.",
        (*series(f.VLLM_SUCCESS), *(Series(names[0]) for names in f.VLLM_TOKENS.values())),
    ),
    Row(
        ("ServerReading.control",),
        "it sleeps and wakes (`VLLM_SERVER_DEV_MODE=1`); LoRA adapters may be loaded"
        " (`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`, `--enable-lora`), which is asked where any are configured",
        "a mode",
        Kind.ANSWER,
        Resets.PROCESS,
        "Not asked yet, once per start: decisions go on, a step shows it.",
        source="`GET /is_sleeping`; `POST /v1/load_lora_adapter` of one that does not exist",
    ),
    Row(
        ("ServerReading.host",),
        "the machine: not told by vLLM",
        "-",
        Kind.NONE,
        Resets.NOTHING,
        "Always missing: GPUs are told by agents.",
    ),
)
_MODEL = (
    Row(
        ("ModelReading.state", "ModelReading.reason", "ModelReading.instances", "Interval.instances"),
        "ready, with one instance, when the page names it; unavailable while every engine of it sleeps",
        "a state",
        Kind.LABELS,
        Resets.NOTHING,
        "Not named: absent. A page that names no model is malformed: a router's, or another server's.",
        series(f.VLLM_RUNNING, f.VLLM_WAITING),
    ),
    Row(
        ("ModelReading.outdated",),
        "the path of a LoRA adapter where the configuration has another (`root` of the list of models; the adapter is"
        " there when the list has it); every other signal of an adapter is missing, since its requests are counted as"
        " those of its base model",
        "a path",
        Kind.ANSWER,
        Resets.NOTHING,
        "The state of adapters is missing where the list cannot be read: hold.",
        source="/v1/models",
    ),
    Row(
        ("ModelReading.sleep",),
        "awake, weights offloaded or discarded; of several engines the deepest. Requests to a sleeping one hang",
        "a state",
        Kind.GAUGE,
        Resets.NOTHING,
        "Older versions cannot tell: taken for awake.",
        series(f.VLLM_SLEEP),
    ),
    Row(
        ("ModelReading.pending", "Interval.pending_start", "Interval.pending_end"),
        "requests that wait; engines add up",
        "requests",
        Kind.GAUGE,
        Resets.NOTHING,
        _UNCOVERED,
        series(f.VLLM_WAITING),
    ),
    Row(
        ("ModelReading.pending_by_reason",),
        "the same by `reason`: capacity, or deferred (by an adapter or a transfer, which more capacity does not cure)",
        "requests",
        Kind.GAUGE,
        Resets.NOTHING,
        "Older versions do not tell. " + _DASHBOARDS,
        series(f.VLLM_WAITING_BY_REASON),
    ),
    Row(
        ("ModelReading.running", "Interval.running_start", "Interval.running_end"),
        "requests in the running batch; engines add up",
        "requests",
        Kind.GAUGE,
        Resets.NOTHING,
        _UNCOVERED,
        series(f.VLLM_RUNNING),
    ),
    Row(
        ("ModelReading.kv_cache_usage",),
        "share of the KV cache in use, 0 to 1 in spite of its name; of several engines the fullest's",
        "share of 1",
        Kind.GAUGE,
        Resets.NOTHING,
        _DASHBOARDS,
        tuple(Series(name, _OLD.get(name, "")) for name in f.VLLM_KV_CACHE_USAGE),
        alternatives=True,
    ),
    Row(
        ("ModelReading.kv_cache_tokens",),
        f"tokens that the KV cache holds; engines add up. Label `{f.VLLM_CACHE_TOKENS}`, else"
        f" `{f.VLLM_CACHE_BLOCKS}` x `{f.VLLM_CACHE_BLOCK_SIZE}`, too few or many with several kinds of layers",
        "tokens",
        Kind.LABELS,
        Resets.NOTHING,
        "A label that is `None` or not there, or several models on the page. " + _DASHBOARDS,
        series(f.VLLM_CACHE_CONFIG),
    ),
    Row(
        ("ModelReading.adapters",),
        "LoRA adapters in use and waited for. The value is a unix time and old label sets stay: that of the largest"
        " value is read. The labels have been seen to be inaccurate; counters by adapter do not exist",
        "names",
        Kind.LABELS,
        Resets.PROCESS,
        "Absent without `--enable-lora` and until the first request. " + _DASHBOARDS,
        series(f.VLLM_LORA, there="with `--enable-lora`, from the first request on"),
    ),
    Row(
        ("Interval.completed", "Interval.failed", "Interval.canceled", "ModelReading.counters[requests]"),
        "requests ended, by `finished_reason`: error failed, abort was canceled, all others were answered. Those whose"
        " clients went away are not among them (seen on 0.32): canceled are also those that got a first token"
        " (`vllm:time_to_first_token_seconds`) and neither ended nor execute; who went away before is counted nowhere",
        "requests",
        Kind.COUNTER,
        Resets.PROCESS,
        _UNCOVERED,
        series(f.VLLM_SUCCESS),
    ),
    Row(
        ("Interval.rejected", "ModelReading.refused", "ModelReading.counters[requests]"),
        "requests turned away before they were queued",
        "requests",
        Kind.COUNTER,
        Resets.PROCESS,
        "Older versions refuse nothing and do not export it: missing.",
        series(f.VLLM_REJECTED),
    ),
    Row(
        ("Interval.request_s", "ModelReading.counters[request_seconds]"),
        "time from arrival to the last token, summed over requests",
        "s",
        Kind.COUNTER,
        Resets.PROCESS,
        _UNCOVERED,
        suffixed([f.VLLM_E2E_S], f.SUM),
    ),
    Row(
        ("Interval.queue_s", "ModelReading.counters[queue_seconds]"),
        "time waited, summed over requests",
        "s",
        Kind.COUNTER,
        Resets.PROCESS,
        _UNCOVERED,
        suffixed([f.VLLM_QUEUE_S], f.SUM),
    ),
    *(_histogram(indicator) for indicator in f.VLLM_HISTOGRAMS),
)
_DETAIL = (
    _tokens(Counter.PROMPT_TOKENS, "prompt", "prompt tokens processed, as they are, with those found in the cache"),
    _tokens(Counter.GENERATION_TOKENS, "generation", "tokens generated, as they are, also of requests under way"),
    _tokens(Counter.PREEMPTIONS, "preemptions", "requests thrown out of a full KV cache, to begin again", "requests"),
    _tokens(Counter.PREFIX_QUERIES, "prefix_queries", "prompt tokens looked up in the prefix cache"),
    _tokens(Counter.PREFIX_HITS, "prefix_hits", "prompt tokens found there"),
    _tokens(Counter.ENDED, "ended", "requests whose lengths are counted", "requests"),
    _tokens(Counter.ENDED_PROMPT, "ended_prompt", "prompt lengths of requests that ended"),
    _tokens(Counter.ENDED_GENERATION, "ended_generation", "generated lengths of requests that ended"),
    _tokens(Counter.ITL_COUNT, "itl_count", "times between tokens that were seen", "times"),
    _tokens(
        Counter.ITL_S, "itl_s", "seconds between tokens, summed; by time, the requests that decode on average", "s"
    ),
    PROBES,
    Row(
        (
            "ModelReading.instances_per_step",
            "ModelReading.max_batch_size",
            "ModelReading.dynamic_batching",
            "ModelReading.max_queue_delay_s",
            "ModelReading.preferred_batch_sizes",
            "ModelReading.other_scheduler",
            "ModelReading.versions",
            "ModelReading.components",
            "ModelReading.gpus",
            "ModelReading.gpu_uuids",
            "ModelReading.load_s",
            "Interval.failed_backend",
            "Interval.batches",
            "Interval.failure_s",
            "Interval.running_max",
            "Interval.running_seen_max",
            "Interval.versions",
        ),
        "what only a Triton tells",
        "-",
        Kind.NONE,
        Resets.NOTHING,
        "vLLM does not export it: left at its default, or missing.",
    ),
)

VLLM = Backend(
    "vLLM",
    (*_SERVER, *_MODEL, *_DETAIL),
    (
        Ignored(("*_created",), "when a series began: a counter that fell tells it too, and every counter has one"),
        Ignored(
            ("python_*", "process_*", "http_*"),
            "the process and its web server: `live` and the counters of requests tell the same of the model",
        ),
        Ignored(
            (
                "vllm:request_time_per_output_token_seconds",
                "vllm:request_inference_time_seconds",
                "vllm:request_prefill_time_seconds",
                "vllm:request_decode_time_seconds",
                "vllm:request_prefill_kv_computed_tokens",
                "vllm:iteration_tokens",
                "vllm:iteration_tokens_total",
            ),
            "parts and means of the times above, by request or step: no objective is on them",
        ),
        Ignored(
            ("vllm:request_max_num_generation_tokens", "vllm:request_params_*", "vllm:request_num_preemptions"),
            "what clients ask for, and preemptions by request: nothing rests on them",
        ),
        Ignored(
            (
                "vllm:prompt_tokens_by_source*",
                "vllm:prompt_tokens_cached*",
                "vllm:external_prefix_cache_*",
                "vllm:mm_cache_*",
            ),
            "where cached tokens came from, and caches of other things than the KV of a prefix",
        ),
        Ignored(("vllm:estimated_*_per_gpu*",), "estimates of the work done, not measurements; 0 unless asked for"),
        Ignored(("vllm:sleep_mode_*",), "how long going to sleep and waking took: the actions themselves are timed"),
    ),
)
