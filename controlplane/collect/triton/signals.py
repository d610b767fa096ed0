"""Every signal of a Triton, and every family of its metrics page that is left alone."""

from __future__ import annotations

from controlplane.collect import families as f
from controlplane.collect.signals import PROBES, Backend, Ignored, Kind, Resets, Row, series, suffixed

_HOLD = "The model's state stays known, what is counted is missing: hold."
_UNCOVERED = "No interval: the time is uncovered, neither good nor bad. No decision lowers anything on it."
_STATISTICS = "/v2/models/stats"
_CONFIG = "/v2/models/MODEL/config, after whatever tells of a load, and every 30 s"
_INDEX = "/v2/repository/index"
_LATENCIES = "unless `--metrics-config counter_latencies=false`"
_DASHBOARDS = "Shown as absent; no decision rests on it."
_NOT_TRITON = "Triton does not export it: missing, with no effect."

_SERVER = (
    Row(
        ("ServerReading.live",),
        "the server answers; not that it can infer: a dead backend stays ready",
        "yes or no",
        Kind.ANSWER,
        Resets.NOTHING,
        "Not asked yet: hold.",
        source=f"{_INDEX} and the metrics page",
    ),
    Row(
        ("ServerReading.incarnation", "Interval.began_anew"),
        "restarts noticed: nobody listened in between, a loaded model is no longer known, or counters fell; of an"
        " interval, that counters of it did",
        "restarts",
        Kind.ANSWER,
        Resets.PROCESS,
        "A restart that nothing tells is not noticed; counts stay right all the same.",
        source=f"{_INDEX} and the metrics page",
    ),
    Row(
        ("ServerReading.control",),
        "models may be loaded and unloaded (`--model-control-mode=explicit`)",
        "a mode",
        Kind.ANSWER,
        Resets.PROCESS,
        "Not asked yet: nothing is carried out before it is known.",
        source="the answer to a load that changes nothing",
    ),
    Row(
        ("ServerReading.host",),
        "pinned memory, CPU and memory of the machine as Triton's own page tells them",
        "bytes, share of 1",
        Kind.GAUGE,
        Resets.NOTHING,
        _DASHBOARDS,
        series(*(name for name in f.TRITON_HOST.values() if "_gpu_" not in name)),
    ),
    Row(
        ("ServerReading.host",),
        "GPUs as Triton's own page tells them, by the label `gpu_uuid`; an agent tells more",
        "bytes, share of 1",
        Kind.GAUGE,
        Resets.NOTHING,
        "No GPU, or `--allow-gpu-metrics=false`. GPUs of the agents are judged, these are shown.",
        series(*(name for name in f.TRITON_HOST.values() if "_gpu_" in name), there="with a GPU"),
    ),
)
_MODEL = (
    Row(
        ("ModelReading.state", "ModelReading.reason"),
        "ready, loading, unloading, unavailable, unloaded or absent, and the server's words",
        "a state",
        Kind.INDEX,
        Resets.NOTHING,
        "Stale after three scrapes: hold, and alert after a while.",
        source=_INDEX,
    ),
    Row(
        ("ModelReading.versions",),
        "the versions that are ready; a rollout goes by them",
        "versions",
        Kind.INDEX,
        Resets.NOTHING,
        "As for the state.",
        source=_INDEX,
    ),
    Row(
        ("ModelReading.components",),
        "the models that an ensemble calls: their rollout has to be asked for with it",
        "names",
        Kind.CONFIG,
        Resets.NOTHING,
        "A rollout of a component is not refused.",
        source=_CONFIG,
    ),
    Row(
        ("ModelReading.instances", "ModelReading.instances_per_step", "ModelReading.gpus", "Interval.instances"),
        "total over the instance groups, the smallest change of it, and the GPUs they list",
        "instances",
        Kind.CONFIG,
        Resets.NOTHING,
        "Loading, or not answered: no interval begins, and the model is not scaled.",
        source=_CONFIG,
    ),
    Row(
        (
            "ModelReading.max_batch_size",
            "ModelReading.dynamic_batching",
            "ModelReading.max_queue_delay_s",
            "ModelReading.preferred_batch_sizes",
            "ModelReading.other_scheduler",
            "Interval.running_max",
        ),
        "how requests are batched; a queue delay is batching, not congestion. Instances times the largest batch bound"
        " what can be executing",
        "requests, s",
        Kind.CONFIG,
        Resets.NOTHING,
        "As for instances.",
        source=_CONFIG,
    ),
    Row(
        ("ModelReading.pending", "Interval.pending_start", "Interval.pending_end"),
        "requests that wait in the queue, executing ones not among them; versions add up",
        "requests",
        Kind.GAUGE,
        Resets.NOTHING,
        _HOLD,
        series(f.TRITON_PENDING),
    ),
    Row(
        ("Interval.completed", "ModelReading.counters[requests]"),
        "requests answered, with those that failed; answers from the response cache count",
        "requests",
        Kind.COUNTER,
        Resets.MODEL,
        _UNCOVERED,
        series(f.TRITON_SUCCESS),
    ),
    Row(
        (
            "Interval.failed",
            "Interval.failed_backend",
            "Interval.rejected",
            "Interval.canceled",
            "ModelReading.counters[requests]",
        ),
        "failures by the label `reason`: OTHER and BACKEND failed, REJECTED timed out in the queue, CANCELED was given"
        " up; an error in a single response counts as success",
        "requests",
        Kind.COUNTER,
        Resets.FAILURES,
        _UNCOVERED,
        series(f.TRITON_FAILURE),
    ),
    Row(
        ("Interval.versions",),
        "the same by the label `version`, where an objective names one",
        "requests",
        Kind.COUNTER,
        Resets.MODEL,
        "Not loaded: the objectives on that version are not measured there.",
        series(f.TRITON_SUCCESS, f.TRITON_FAILURE),
    ),
    Row(
        ("ModelReading.refused",),
        "requests that found the queue full (`max_queue_size`, HTTP 503)",
        "requests",
        Kind.NONE,
        Resets.NOTHING,
        "No counter of Triton shows them: always missing, never zero. Gateways and probes see them; demand is a lower"
        " bound while requests are rejected.",
    ),
    Row(
        ("Interval.request_s", "ModelReading.counters[request_seconds]"),
        "time from arrival to answer, summed over requests",
        "us",
        Kind.COUNTER,
        Resets.MODEL,
        _UNCOVERED,
        series(f.TRITON_REQUEST_US, there=_LATENCIES),
    ),
    Row(
        ("Interval.queue_s", "ModelReading.counters[queue_seconds]"),
        "time waited in the queue, summed over requests",
        "us",
        Kind.COUNTER,
        Resets.MODEL,
        _UNCOVERED,
        series(f.TRITON_QUEUE_US, there=_LATENCIES),
    ),
    Row(
        ("Interval.batches", "Interval.running_seen_max"),
        "executions by batch size with their compute time; the largest seen tells what is likely executing at most",
        "executions, ns",
        Kind.STATISTICS,
        Resets.STATISTICS,
        "Empty: the batching line is not learned from this interval; the last known size holds, else `max_batch_size`.",
        source=f"{_STATISTICS}, `batch_stats`",
    ),
    Row(
        ("Interval.failure_s",),
        "time that failed requests took, from arrival to answer",
        "ns",
        Kind.STATISTICS,
        Resets.STATISTICS,
        "What executes is bounded as if failures took no longer than others.",
        source=f"{_STATISTICS}, `inference_stats.fail`",
    ),
    PROBES,
)
_DETAIL = (
    Row(
        ("ModelReading.counters[inferences]", "ModelReading.counters[executions]"),
        "items inferred and batches executed, cached answers not among them: their ratio is the average batch",
        "inferences, executions",
        Kind.COUNTER,
        Resets.MODEL,
        _DASHBOARDS,
        series(f.TRITON_INFERENCES, f.TRITON_EXECUTIONS),
    ),
    Row(
        ("ModelReading.counters[compute_seconds]",),
        "time in the backend by phase; every request is charged its whole batch's",
        "us",
        Kind.COUNTER,
        Resets.MODEL,
        _DASHBOARDS,
        series(*f.TRITON_COMPUTE_US.values(), there=_LATENCIES),
    ),
    Row(
        ("ModelReading.counters[response_cache_lookups]",),
        "look-ups in the response cache, by result",
        "look-ups",
        Kind.COUNTER,
        Resets.MODEL,
        "No response cache. " + _DASHBOARDS,
        series(*f.TRITON_CACHE.values(), there="with a response cache"),
    ),
    Row(
        ("ModelReading.load_s",),
        "how long the newest load took; of several versions the longest",
        "s",
        Kind.GAUGE,
        Resets.NOTHING,
        "Older than 24.11, or not loaded. " + _DASHBOARDS,
        series(f.TRITON_LOAD_S, there="since 24.11"),
    ),
    Row(
        ("ModelReading.gpu_uuids",),
        "the GPUs that its instances count on, by the label `gpu_uuid`",
        "UUIDs",
        Kind.LABELS,
        Resets.MODEL,
        "Empty: on CPU, or not loaded. The configuration's GPUs hold.",
        series(f.TRITON_INFERENCES),
    ),
    Row(
        ("LatencyInterval[ttft]",),
        "time to the first response of a decoupled model; edges are converted from milliseconds",
        "ms",
        Kind.HISTOGRAM,
        Resets.MODEL,
        "Not decoupled, older than 24.11, or without `--metrics-config histogram_latencies=true`: nothing is measured.",
        suffixed([f.TRITON_FIRST_RESPONSE_MS], f.BUCKET, there="decoupled models, since 24.11"),
    ),
    Row(
        ("ModelReading.running", "Interval.running_start", "Interval.running_end"),
        "requests that execute",
        "requests",
        Kind.NONE,
        Resets.NOTHING,
        "Triton does not export it: bounded by instances and the largest batch (`Interval.running_max`).",
    ),
    Row(
        (
            "ModelReading.kv_cache_usage",
            "ModelReading.kv_cache_tokens",
            "ModelReading.pending_by_reason",
            "ModelReading.sleep",
            "ModelReading.adapters",
            "ModelReading.outdated",
            "Interval.tokens",
        ),
        "what engines that generate text tell",
        "-",
        Kind.NONE,
        Resets.NOTHING,
        _NOT_TRITON,
    ),
)

TRITON = Backend(
    "Triton",
    (*_SERVER, *_MODEL, *_DETAIL),
    (
        Ignored(
            ("nv_inference_*_summary_us", "nv_cache_*_summary_per_model"),
            "quantiles of a sliding window of one server: they cannot be added up over servers or time, and are `Nan`"
            " once nobody asked for a while",
        ),
        Ignored(
            (
                "nv_cache_hit_duration_per_model",
                "nv_cache_miss_duration_per_model",
                "nv_cache_util",
                "nv_cache_num_entries",
                "nv_cache_num_evictions",
                "nv_cache_num_hits",
                "nv_cache_num_lookups",
                "nv_cache_num_misses",
                "nv_cache_lookup_duration",
                "nv_cache_insertion_duration",
            ),
            "the response cache as a whole and the time of its look-ups: nothing rests on them",
        ),
        Ignored(
            ("nv_gpu_power_*", "nv_energy_consumption"),
            "the agent's NVML tells power of every GPU, also where Triton is not on it",
        ),
    ),
)
