"""Cost: which model uses how much GPU time, what that costs, and how much of it is idle."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.domain.observation import Counter
from controlplane.publish.dashboards import drills
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.outcomes import ANSWERED
from controlplane.publish.dashboards.panels import (
    NO_TRAFFIC,
    Column,
    Panel,
    Query,
    bargauge,
    rising,
    stat,
    table,
    text,
    timeseries,
)
from controlplane.publish.dashboards.queries import Own, both, largest, like, share, total

M, C = names.MODEL, names.CURRENCY
OWN = Own(M, names.SERVER, names.NODE, names.GPU)
NO_PRICE = "no price configured"
NO_GPU = "no GPU time"
TO = [drills.MODEL_SCALING, drills.MODEL_SLO]
HOUR_S = 3600


def cost() -> Dashboard:
    """GPU time and money."""
    return dashboard(
        drills.COST,
        "Cost",
        "GPU-hours and their price by model, the idle share, and what a thousand requests or a million tokens cost.",
        [v.PLANE, v.MODEL, v.SERVER, v.NODE, v.GPU],
        [
            Row("In the time shown", [*_totals(), _table()]),
            Row("By model", _by_model()),
            Row("Per piece of work", _per_work()),
            Row("Devices", _devices()),
        ],
        marks(by_model=True),
        since="now-24h",
    )


def _answered() -> str:
    return OWN.grown(names.MODEL_COUNTERS[Counter.REQUESTS], like(names.OUTCOME, ANSWERED))


def _per(spent: str, work: str, number: float) -> str:
    """Cost by model and currency for so many pieces of work by model."""
    return f"{number:g} * {spent} / on ({M}) group_left () ({work} > 0)"


def _totals() -> list[Panel]:
    busy, seen = OWN.grown(names.GPU_BUSY_S), OWN.grown(names.GPU_S)
    return [
        stat(
            "GPU-hours there were",
            "Time for which GPUs were seen, used or not.",
            Query(f"{total(seen)} / {HOUR_S}", "hours"),
            "suffix:h",
            decimals=1,
            no_value=NO_GPU,
            width=5,
            drills=[drills.TO_GPU],
        ),
        stat(
            "GPU-hours of models",
            "Time allotted to models: a GPU's time is shared among the models that are loaded on it.",
            Query(f"{total(OWN.grown(names.MODEL_GPU_S))} / {HOUR_S}", "hours"),
            "suffix:h",
            decimals=1,
            no_value=NO_GPU,
            width=5,
            drills=[drills.TO_SCALING],
        ),
        stat(
            "Idle share",
            "Share of the GPU time in which nothing executed, of GPUs that tell it.",
            Query(f"1 - {share(total(busy), total(both(seen, busy)))}", "idle"),
            "percentunit",
            steps=rising(0.5, 0.8),
            decimals=0,
            no_value=NO_GPU,
            width=4,
            drills=[drills.TO_GPU],
        ),
        stat(
            "Cost of models",
            "Price of the GPU time allotted to models.",
            Query(total(OWN.grown(names.MODEL_COST), C), "{{currency}}"),
            "none",
            decimals=2,
            no_value=NO_PRICE,
            width=5,
            drills=[drills.TO_SCALING],
        ),
        stat(
            "Price of all GPUs, per hour",
            "What the GPUs that are seen cost an hour, as configured.",
            Query(total(OWN.now(names.GPU_PRICE), C), "{{currency}} per hour"),
            "none",
            decimals=2,
            no_value=NO_PRICE,
            width=5,
            drills=[drills.TO_GPU],
        ),
    ]


def _table() -> Panel:
    spent = total(OWN.grown(names.MODEL_COST), M, C)
    tokens = total(OWN.grown(names.MODEL_COUNTERS[Counter.GENERATION_TOKENS]), M)
    answered = total(_answered(), M)
    return table(
        "Cost by model",
        "Over the time shown. Without a price there are GPU-hours only; without traffic no cost per request.",
        [
            Column(f"{total(OWN.grown(names.MODEL_GPU_S), M)} / {HOUR_S}", "GPU-hours", "none", decimals=2),
            Column(total(spent, M), "Cost", "none", decimals=2),
            Column(answered, "Requests answered", "short", decimals=1),
            Column(total(_per(spent, answered, 1e3), M), "Per 1,000 requests", "none", decimals=4),
            Column(tokens, "Tokens generated", "short", decimals=1),
            Column(total(_per(spent, tokens, 1e6), M), "Per million tokens", "none", decimals=4),
        ],
        [M],
        width=24,
        height=7,
        no_value=NO_GPU,
        drills=[*TO, drills.MODEL_COST],
    )


def _by_model() -> list[Panel]:
    return [
        timeseries(
            "GPUs allotted",
            "GPUs that each model takes, on average; parts of shared ones add up.",
            [Query(total(OWN.rate(names.MODEL_GPU_S), M), "{{model}}")],
            "suffix:GPU",
            stacked=True,
            no_value=NO_GPU,
            width=9,
            drills=TO,
        ),
        timeseries(
            "Cost per hour",
            "What each model costs an hour at the moment.",
            [Query(f"{HOUR_S} * {total(OWN.rate(names.MODEL_COST), M, C)}", "{{model}} ({{currency}} per hour)")],
            "none",
            stacked=True,
            decimals=2,
            no_value=NO_PRICE,
            width=9,
            drills=TO,
        ),
        bargauge(
            "GPU-hours by model",
            "Over the time shown.",
            [Query(f"{total(OWN.grown(names.MODEL_GPU_S), M)} / {HOUR_S}", "{{model}}")],
            "suffix:h",
            decimals=2,
            no_value=NO_GPU,
            width=6,
            drills=TO,
        ),
    ]


def _per_work() -> list[Panel]:
    rate = total(OWN.rate(names.MODEL_COST), M, C)
    answered = total(OWN.rate(names.MODEL_COUNTERS[Counter.REQUESTS], like(names.OUTCOME, ANSWERED)), M)
    tokens = total(OWN.rate(names.MODEL_COUNTERS[Counter.GENERATION_TOKENS]), M)
    return [
        timeseries(
            "Cost per 1,000 requests",
            "Price of the GPU time by the requests answered. High with little traffic: what is loaded waits for it.",
            [Query(_per(rate, answered, 1e3), "{{model}} ({{currency}})")],
            "none",
            least=0,
            decimals=4,
            no_value=NO_TRAFFIC,
            drills=TO,
        ),
        timeseries(
            "Cost per million tokens",
            "Price of the GPU time by the tokens generated.",
            [Query(_per(rate, tokens, 1e6), "{{model}} ({{currency}})")],
            "none",
            least=0,
            decimals=3,
            no_value=NO_TRAFFIC,
            drills=TO,
        ),
    ]


def _devices() -> list[Panel]:
    key = (names.NODE, names.GPU)
    busy, seen = total(OWN.rate(names.GPU_BUSY_S), *key), total(OWN.rate(names.GPU_S), *key)
    unused = total(f"{OWN.rate(names.GPU_S)} - {OWN.rate(names.GPU_BUSY_S)}")
    return [
        timeseries(
            "Idle share by GPU",
            "Share of each GPU's time in which nothing executed.",
            [Query(f"1 - {share(busy, seen)}", "{{node}} {{gpu}}")],
            "percentunit",
            steps=rising(0.5, 0.8),
            least=0,
            most=1,
            no_value=NO_GPU,
            width=8,
            drills=[drills.ONE_GPU],
        ),
        timeseries(
            "GPUs idle",
            "How many whole GPUs the idle time makes up, of GPUs that tell it.",
            [Query(unused, "idle")],
            "suffix:GPU",
            least=0,
            no_value=NO_GPU,
            width=5,
            drills=[drills.TO_GPU],
        ),
        table(
            "Prices",
            "What an hour of each GPU costs, as configured.",
            [Column(largest(OWN.now(names.GPU_PRICE), *key, C), "Per hour", "none", decimals=2)],
            [*key, C],
            width=6,
            no_value=NO_PRICE,
            drills=[drills.ONE_GPU],
        ),
        text(
            "How time is allotted",
            "What the figures rest on.",
            "A GPU's time goes in equal parts to the models that are loaded on it, whether they work or not: it is "
            "what they keep from others. A GPU without a model is in no model's cost.",
            width=5,
            height=8,
        ),
    ]
