"""Triton server: queue, compute, batches, instances, failures, cache, load times."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.domain.observation import Counter, HostGauge
from controlplane.publish.dashboards import drills, raw
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.panels import (
    GREEN,
    GREY,
    NO_TRAFFIC,
    NOTHING,
    Panel,
    Query,
    rising,
    state_timeline,
    text,
    timeseries,
)
from controlplane.publish.dashboards.queries import JOB, is_, largest, like, share, total
from controlplane.publish.dashboards.served import COUNTERS, OWN, UNIT, M, S, rate
from controlplane.publish.dashboards.variables import of_label

TO = [drills.UNIT_SCALING]
_PINNED = (HostGauge.PINNED_MEMORY_USED, HostGauge.PINNED_MEMORY_TOTAL)

# batches are counted by Triton alone; all that there are, rather than a pattern that would take in other servers too
_SERVERS = of_label(S, "Server", f"{COUNTERS[Counter.EXECUTIONS]}_total", like(JOB, f"${JOB}"), every=None)


def triton() -> Dashboard:
    """Models on Triton servers."""
    return dashboard(
        drills.TRITON,
        "Triton server",
        "Where requests spend their time on Triton (waiting, or in the backend), how full batches are, what failed.",
        [v.PLANE, v.MODEL, _SERVERS, *raw.variables(raw.TRITON_SUCCESS, raw.TRITON_MODEL)],
        [
            Row("Requests", _requests()),
            Row("Where the time goes", _times()),
            Row("Batches and instances", _batches()),
            Row("Response cache, loads, host", _host()),
            Row("From a Prometheus that scrapes the Tritons themselves", _raw()),
        ],
        marks(by_model=True),
    )


def _requests() -> list[Panel]:
    failures = OWN.rate(COUNTERS[Counter.REQUESTS], like(names.OUTCOME, "other|backend|rejected|canceled"))
    return [
        timeseries(
            "Requests ended",
            "Requests per second, however they ended. Those that find the queue full are counted nowhere by Triton.",
            [Query(rate(Counter.REQUESTS), UNIT)],
            "reqps",
            no_value=NO_TRAFFIC,
            width=8,
            drills=TO,
        ),
        timeseries(
            "Failures by reason",
            "Backend: the model failed. Rejected: timed out in the queue. Canceled: the client gave up. Other: Triton "
            "itself. An error in one response of a stream counts as success.",
            [Query(total(failures, M, names.OUTCOME), "{{model}}: {{outcome}}")],
            "reqps",
            stacked=True,
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Requests waiting",
            "Requests in Triton's queue.",
            [Query(largest(OWN.now(names.MODEL_PENDING), M, S), UNIT)],
            "none",
            least=0,
            width=8,
            drills=TO,
        ),
    ]


def _times() -> list[Panel]:
    ended = rate(Counter.REQUESTS)
    phases = total(OWN.rate(COUNTERS[Counter.COMPUTE_S]), M, S, names.PHASE)
    by_phase = f"{phases} / on ({M}, {S}) group_left () ({ended} > 0)"
    return [
        timeseries(
            "Mean time of a request",
            "From arrival to the last answer, by Triton's sums. A mean hides the slow ones: objectives on latency are "
            "measured at a gateway or by probes.",
            [Query(share(rate(Counter.REQUEST_S), ended), UNIT)],
            "s",
            least=0,
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Mean time in the queue",
            "How long a request waited on average; with dynamic batching some of it is the delay that was asked for.",
            [Query(share(rate(Counter.QUEUE_S), ended), UNIT)],
            "s",
            least=0,
            no_value=NO_TRAFFIC,
            width=8,
            drills=TO,
        ),
        timeseries(
            "Mean time in the backend, by phase",
            "Input, infer, output. Each request is charged the whole time of its batch.",
            [Query(by_phase, f"{UNIT}: {{{{phase}}}}")],
            "s",
            stacked=True,
            no_value=NO_TRAFFIC,
            width=8,
            drills=TO,
        ),
    ]


def _batches() -> list[Panel]:
    return [
        timeseries(
            "Mean batch size",
            "Items inferred per batch executed. 1 with a queue: batching is not configured or does not happen.",
            [Query(share(rate(Counter.INFERENCES), rate(Counter.EXECUTIONS)), UNIT)],
            "none",
            least=0,
            decimals=1,
            no_value=NO_TRAFFIC,
            width=6,
            drills=TO,
        ),
        timeseries(
            "Batches executed",
            "Batches per second.",
            [Query(rate(Counter.EXECUTIONS), UNIT)],
            "ops",
            no_value=NO_TRAFFIC,
            width=6,
            drills=TO,
        ),
        timeseries(
            "Instances",
            "Instances of the model on the server, over its instance groups.",
            [Query(largest(OWN.now(names.MODEL_INSTANCES), M, S), UNIT)],
            "none",
            least=0,
            width=6,
            drills=TO,
        ),
        state_timeline(
            "Models loaded",
            "Whether the model is ready on the server. A gap: not known.",
            [Query(largest(OWN.now(names.MODEL_LOADED), M, S), UNIT)],
            {1: ("ready", GREEN), 0: ("not loaded", GREY)},
            width=6,
            drills=TO,
        ),
    ]


def _host() -> list[Panel]:
    looked_up = rate(Counter.RESPONSE_CACHE)
    hits = total(OWN.rate(COUNTERS[Counter.RESPONSE_CACHE], is_(names.RESULT, "hit")), M, S)
    pinned = [largest(OWN.now(names.SERVER_HOST[gauge]), S) for gauge in _PINNED]
    return [
        timeseries(
            "Response cache hits",
            "Share of look-ups that were answered from the response cache.",
            [Query(share(hits, looked_up), UNIT)],
            "percentunit",
            least=0,
            most=1,
            no_value="no cache in use",
            width=6,
            drills=TO,
        ),
        timeseries(
            "Time of the newest load",
            "How long the newest load of the model took, by Triton's own account.",
            [Query(largest(OWN.now(names.MODEL_LOAD_S), M, S), UNIT)],
            "s",
            least=0,
            no_value="not told",
            width=6,
            drills=TO,
        ),
        timeseries(
            "CPU of the machine",
            "Share of the machine's CPU in use, by Triton's own page.",
            [Query(largest(OWN.now(names.SERVER_HOST[HostGauge.CPU_UTILISATION]), S), "{{server}}")],
            "percentunit",
            least=0,
            most=1,
            steps=rising(0.8, 0.95),
            width=6,
            drills=[drills.TO_GPU],
        ),
        timeseries(
            "Pinned memory in use",
            "Share of the pinned memory pool in use; when it is full, copies to the GPU get slower.",
            [Query(share(pinned[0], pinned[1]), "{{server}}")],
            "percentunit",
            least=0,
            most=1,
            steps=rising(0.8, 0.95),
            width=6,
            drills=[drills.TO_GPU],
        ),
    ]


def _raw() -> list[Panel]:
    def p99(summary: str) -> str:
        of_series = raw.scraped(summary, raw.TRITON_MODEL, is_(raw.QUANTILE, "0.99"))
        return f"max by (instance, {raw.TRITON_MODEL}) ({of_series}) / 1e6"

    cache = raw.scraped(raw.TRITON_CACHE_USED, None)
    evictions = raw.scraped(raw.TRITON_CACHE_EVICTIONS, None)
    return [
        text(
            "About these panels",
            "Where the last row comes from.",
            "These read Triton's own series, so the data source has to scrape the Tritons too. Quantiles need "
            "`--metrics-config summary_latencies=true`; each is that of one server over its own last minute and must "
            "not be averaged.",
            width=24,
            height=3,
        ),
        timeseries(
            "p99 of requests, by server",
            "99 of 100 requests took at most so long, by the summary of one server.",
            [Query(p99(raw.TRITON_REQUEST_SUMMARY), "{{model}} on {{instance}}")],
            "s",
            least=0,
            no_value="not scraped, or no summaries",
            width=8,
            drills=[drills.TO_SLO],
        ),
        timeseries(
            "p99 of waiting, by server",
            "99 of 100 requests waited at most so long, by the summary of one server.",
            [Query(p99(raw.TRITON_QUEUE_SUMMARY), "{{model}} on {{instance}}")],
            "s",
            least=0,
            no_value="not scraped, or no summaries",
            width=8,
            drills=[drills.TO_SCALING],
        ),
        timeseries(
            "Response cache in use",
            "Share of the response cache's memory in use.",
            [Query(f"max by (instance) ({cache})", "{{instance}}")],
            "percentunit",
            least=0,
            most=1,
            no_value="not scraped, or no cache",
            width=4,
            drills=[drills.TO_SLO],
        ),
        timeseries(
            "Cache evictions",
            # Triton types it as a gauge although it only grows, and so does not let it be rated honestly over restarts
            "Entries thrown out of the response cache since Triton began.",
            [Query(f"max by (instance) ({evictions})", "{{instance}}")],
            "none",
            least=0,
            no_value=NOTHING,
            width=4,
            drills=[drills.TO_SLO],
        ),
    ]
