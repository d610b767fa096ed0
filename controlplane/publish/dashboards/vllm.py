"""vLLM: time to the first token and between tokens, queue, KV cache, tokens, adapters."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.domain.observation import Counter, SleepState
from controlplane.publish.dashboards import drills, raw
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.panels import (
    BLUE,
    NO_TRAFFIC,
    NOTHING,
    Panel,
    Query,
    heatmap,
    rising,
    state_timeline,
    text,
    timeseries,
)
from controlplane.publish.dashboards.queries import JOB, is_not, largest, like, quantile_of, share, total
from controlplane.publish.dashboards.served import COUNTERS, OWN, UNIT, M, S, rate
from controlplane.publish.dashboards.variables import of_label

TO = [drills.UNIT_SCALING]
PER_SECOND = "suffix:tok/s"
NOT_SCRAPED = "not scraped, or no traffic"

# tokens are counted by servers that generate text alone
_SERVERS = of_label(S, "Server", f"{COUNTERS[Counter.GENERATION_TOKENS]}_total", like(JOB, f"${JOB}"), every=None)


def vllm() -> Dashboard:
    """Models on vLLM servers."""
    return dashboard(
        drills.VLLM,
        "vLLM",
        "What users of a language model feel (first token, tokens after it), and what it comes from: queue, KV cache, "
        "preemptions.",
        [v.PLANE, v.MODEL, _SERVERS, *raw.variables(raw.VLLM_RUNNING, raw.VLLM_MODEL)],
        [
            Row("Requests", _requests()),
            Row("Tokens", _tokens()),
            Row("KV cache and prefix cache", _cache()),
            Row("Adapters and sleep", _adapters()),
            Row("Latency, from a Prometheus that scrapes the vLLMs themselves", _latency()),
        ],
        marks(by_model=True),
    )


def _requests() -> list[Panel]:
    return [
        timeseries(
            "Requests ended, by how",
            "Stop and length: answered. Abort: the client left. Refused: turned away before they were queued.",
            [Query(rate(Counter.REQUESTS, M, names.OUTCOME), "{{model}}: {{outcome}}")],
            "reqps",
            stacked=True,
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Requests running",
            "Requests in the running batch.",
            [Query(largest(OWN.now(names.MODEL_RUNNING), M, S), UNIT)],
            "none",
            least=0,
            width=8,
            drills=TO,
        ),
        timeseries(
            "Requests waiting, by what for",
            "Capacity: more of it would help. Deferred: waits for an adapter or a transfer, which more would not cure.",
            [Query(total(OWN.now(names.MODEL_PENDING_BY_REASON), M, names.REASON), "{{model}}: {{reason}}")],
            "none",
            stacked=True,
            width=8,
            drills=TO,
        ),
    ]


def _tokens() -> list[Panel]:
    ended = rate(Counter.ENDED)
    return [
        timeseries(
            "Tokens generated",
            "Tokens generated per second.",
            [Query(rate(Counter.GENERATION_TOKENS), UNIT)],
            PER_SECOND,
            no_value=NO_TRAFFIC,
            width=8,
            drills=TO,
        ),
        timeseries(
            "Prompt tokens",
            "Prompt tokens processed per second, those found in the prefix cache among them.",
            [Query(rate(Counter.PROMPT_TOKENS), UNIT)],
            PER_SECOND,
            no_value=NO_TRAFFIC,
            width=8,
            drills=TO,
        ),
        timeseries(
            "Mean length of requests",
            "Prompt and answer of the requests that ended, in tokens. A change here changes what a request costs.",
            [
                Query(share(rate(Counter.ENDED_PROMPT, M), total(ended, M)), "{{model}}: prompt"),
                Query(share(rate(Counter.ENDED_GENERATION, M), total(ended, M)), "{{model}}: answer", dashed=True),
            ],
            "suffix:tok",
            least=0,
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_COST],
        ),
    ]


def _cache() -> list[Panel]:
    return [
        timeseries(
            "KV cache in use",
            "Share of the KV cache in use, of the fullest engine. Near 1 requests wait or are thrown out.",
            [Query(largest(OWN.now(names.MODEL_KV_CACHE_USAGE), M, S), UNIT)],
            "percentunit",
            least=0,
            most=1,
            steps=rising(0.85, 0.95),
            width=6,
            drills=TO,
        ),
        timeseries(
            "KV cache size",
            "Tokens that the KV cache holds.",
            [Query(largest(OWN.now(names.MODEL_KV_CACHE_TOKENS), M, S), UNIT)],
            "short",
            least=0,
            width=6,
            drills=TO,
        ),
        timeseries(
            "Prefix cache hits",
            "Share of the prompt tokens looked up that were found in the prefix cache.",
            [Query(share(rate(Counter.PREFIX_HITS), rate(Counter.PREFIX_QUERIES)), UNIT)],
            "percentunit",
            least=0,
            most=1,
            no_value=NO_TRAFFIC,
            width=6,
            drills=TO,
        ),
        timeseries(
            "Preemptions",
            "Requests thrown out of a full KV cache per second; their work is done again.",
            [Query(rate(Counter.PREEMPTIONS), UNIT)],
            "ops",
            least=0,
            steps=rising(0.1, 1),
            no_value=NOTHING,
            width=6,
            drills=TO,
        ),
    ]


def _adapters() -> list[Panel]:
    asleep = OWN.now(names.MODEL_SLEEP, is_not(names.STATE, SleepState.AWAKE))
    return [
        timeseries(
            "LoRA adapters",
            "Adapters that run, those whose requests wait, and (dashed) how many fit a batch.",
            [
                Query(largest(OWN.now(names.MODEL_ADAPTERS), M, S, names.USE), f"{UNIT}: {{{{use}}}}"),
                Query(largest(OWN.now(names.MODEL_ADAPTER_SLOTS), M, S), f"{UNIT}: slots", dashed=True),
            ],
            "none",
            least=0,
            no_value="no adapters",
            height=6,
            drills=TO,
        ),
        state_timeline(
            "Asleep",
            "While an engine sleeps, requests to it hang.",
            [Query(largest(asleep, M, S, names.STATE), f"{UNIT}: {{{{state}}}}")],
            {1: ("asleep", BLUE)},
            no_value="all awake",
            height=6,
            drills=TO,
        ),
    ]


def _latency() -> list[Panel]:
    shown = (
        ("Time to the first token", "TTFT", raw.VLLM_TTFT, "From arrival to the first token."),
        ("Time between tokens", "ITL", raw.VLLM_ITL, "Between two tokens of one answer."),
        ("Whole request", "E2E", raw.VLLM_E2E, "From arrival to the last token. The lowest bucket ends at 0.3 s."),
        ("Time in the queue", "queue", raw.VLLM_QUEUE, "Before the first scheduling. The lowest bucket ends at 0.3 s."),
    )
    panels = [
        text(
            "About these panels",
            "Where the last row comes from.",
            "These read vLLM's own histograms, so the data source has to scrape the vLLMs too. A quantile lies "
            "somewhere in its bucket; sums of buckets over servers are exact. Whether an objective is met stands in "
            "*Model SLO*.",
            width=24,
            height=3,
        )
    ]
    for title, _, histogram, what in shown:
        rates = raw.bucket_rates(histogram, raw.VLLM_MODEL)
        panels.append(
            timeseries(
                title,
                f"{what} Half, 95 and 99 of 100 took at most so long.",
                [
                    Query(quantile_of(quantile, rates, raw.VLLM_MODEL), f"{{{{model_name}}}}: p{quantile * 100:g}")
                    for quantile in (0.5, 0.95, 0.99)
                ],
                "s",
                least=0,
                no_value=NOT_SCRAPED,
                width=6,
                drills=[drills.TO_SLO],
            )
        )
    for title, short, histogram, _ in shown[:2]:
        rates = raw.bucket_rates(histogram, raw.VLLM_MODEL)
        panels.append(
            heatmap(
                f"{title}, spread",
                f"How {short} spreads over its buckets, events per second.",
                Query(total(rates, "le"), "{{le}}"),
                "s",
                no_value=NOT_SCRAPED,
                width=8,
                drills=[drills.TO_SLO],
            )
        )
    return [*panels, _phases()]


def _phases() -> Panel:
    def mean(histogram: str) -> str:
        sums, counts = (
            f"rate({raw.scraped(f'{histogram}{suffix}', raw.VLLM_MODEL)}[$__rate_interval])"
            for suffix in ("_sum", "_count")
        )
        return share(total(sums, raw.VLLM_MODEL), total(counts, raw.VLLM_MODEL))

    return timeseries(
        "Mean time by phase",
        "Waiting, prefill and decode of a request on average, stacked.",
        [
            Query(mean(histogram), f"{{{{model_name}}}}: {phase}")
            for phase, histogram in (
                ("queue", raw.VLLM_QUEUE),
                ("prefill", raw.VLLM_PREFILL),
                ("decode", raw.VLLM_DECODE),
            )
        ],
        "s",
        stacked=True,
        no_value=NOT_SCRAPED,
        width=8,
        drills=[drills.TO_SCALING],
    )
