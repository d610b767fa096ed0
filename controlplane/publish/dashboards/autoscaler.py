"""Autoscaler: why did it do that, what will it do next, and does it keep up?"""

from __future__ import annotations

from controlplane.domain import names
from controlplane.domain.decision import ReasonCode
from controlplane.publish.dashboards import drills
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import OR_ALL, marks
from controlplane.publish.dashboards.panels import (
    BLUE,
    GREY,
    NOTHING,
    YELLOW,
    Column,
    Panel,
    Query,
    any_is,
    bargauge,
    falling,
    heatmap,
    rising,
    stat,
    state_timeline,
    table,
    timeseries,
)
from controlplane.publish.dashboards.queries import (
    JOB,
    RATE_INTERVAL,
    Own,
    is_,
    is_not,
    largest,
    like,
    quantile_of,
    selector,
    share,
    total,
)

M, S = names.MODEL, names.SERVER
OWN = Own(M, S, names.WORKLOAD)
UNIT = "{{model}} on {{server}}"


def autoscaler() -> Dashboard:
    """Demand, capacity, decisions, what came of them, and what people said."""
    return dashboard(
        drills.AUTOSCALER,
        "Autoscaler",
        "What is asked, what serves it, what was decided and why, what came of it. Actions, overrides and alerts are "
        "marked on every panel.",
        [v.PLANE, v.MODEL, v.WORKLOAD, v.SERVER],
        [
            Row("Why, and what next", [_next(), *_reasons()]),
            Row("Demand and capacity", _demand()),
            Row("Desired, ready, waiting", _counts()),
            Row("What came of it", _results()),
            Row("Start-up times", _startups()),
            Row("People", _people()),
        ],
        marks(by_model=True),
    )


def _next() -> Panel:
    labels = (M, S, names.STEP, names.BINDING)
    decision = largest(OWN.now(names.MODEL_DECISION), *labels)
    # every figure is joined to the decision, so that each decision is one line
    joined = f"* on ({M}, {S}) group_right () {decision}"
    figures = (
        (names.MODEL_INSTANCES, "Instances", "none", None),
        (names.MODEL_DESIRED_INSTANCES, "Desired", "none", None),
        (names.MODEL_DEMAND, "Planned for", "reqps", 1),
        (names.MODEL_CAPACITY, "Capacity", "reqps", 1),
        (names.MODEL_PENDING, "Waiting", "none", None),
    )
    return table(
        "Last decision",
        "The step that the last decision takes next and the reason that settled it; hold: nothing to do. `controlplane "
        "explain` tells the whole chain of reasons.",
        [
            Column(f"{largest(OWN.now(name), M, S)} {joined}", heading, unit, decimals=decimals)
            for name, heading, unit, decimals in figures
        ],
        labels,
        width=24,
        height=7,
        no_value="no decision in the last minute",
        drills=[drills.MODEL_SLO, drills.UNIT_SCALING, drills.MODEL_COST],
    )


def _reasons() -> list[Panel]:
    held = largest(OWN.now(names.MODEL_DECISION), M, S, names.STEP, names.BINDING)
    return [
        state_timeline(
            "Reason of the decision",
            "Which reason settled the decision of each model on each server, and with which step.",
            [Query(held, f"{UNIT}: {{{{step}}}}, {{{{binding}}}}")],
            {1: ("holds", BLUE)},
            width=14,
            drills=[drills.UNIT_SCALING],
        ),
        timeseries(
            "Decisions by reason",
            "How often each reason settled a decision, without holds for which there was nothing to change.",
            [
                Query(
                    total(
                        OWN.grown_lately(names.DECISIONS, is_not(names.BINDING, ReasonCode.IN_PLACE)),
                        names.STEP,
                        names.BINDING,
                    ),
                    "{{step}}: {{binding}}",
                )
            ],
            "none",
            stacked=True,
            bars=True,
            no_value=NOTHING,
            width=10,
            drills=[drills.TO_CONTROL_PLANE],
        ),
    ]


def _demand() -> list[Panel]:
    seen = {bound: OWN.now(names.MODEL_DEMAND_SEEN, is_(names.BOUND, bound)) for bound in ("low", "high")}
    planned, held = total(OWN.now(names.MODEL_DEMAND), M), total(OWN.now(names.MODEL_CAPACITY), M)
    return [
        timeseries(
            "Demand and capacity",
            "Arrivals per second: at least low, at most high as observed (no high: some may not be seen), what was "
            "planned for until more could be ready, and (dashed) what is served inside the objectives.",
            [
                Query(total(seen["low"], M), "{{model}}: seen, low"),
                Query(total(seen["high"], M), "{{model}}: seen, high"),
                Query(planned, "{{model}}: planned for"),
                Query(held, "{{model}}: capacity", dashed=True),
            ],
            "reqps",
            least=0,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Planned demand by capacity",
            "Above 1 what is loaded cannot serve what was planned for; a step up is due or something holds it back.",
            [Query(share(planned, held), "{{model}}")],
            "percentunit",
            steps=rising(0.8, 1),
            least=0,
            width=6,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Quantile of demand served",
            "How much of the demand's spread is planned for: a full budget buys thin headroom, a burning one much.",
            [Query(largest(OWN.now(names.MODEL_DEMAND_QUANTILE), M, S), UNIT)],
            "percentunit",
            least=0,
            most=1,
            width=6,
            drills=[drills.MODEL_SLO],
        ),
    ]


def _counts() -> list[Panel]:
    return [
        timeseries(
            "Instances: desired and ready",
            "What the last decision wants (dashed), and what the servers have.",
            [
                Query(largest(OWN.now(names.MODEL_INSTANCES), M, S), f"{UNIT}: ready"),
                Query(largest(OWN.now(names.MODEL_DESIRED_INSTANCES), M, S), f"{UNIT}: desired", dashed=True),
            ],
            "none",
            least=0,
            width=8,
            drills=[drills.UNIT_SCALING],
        ),
        timeseries(
            "Requests waiting",
            "Requests in the queues of the servers.",
            [Query(total(OWN.now(names.MODEL_PENDING), M), "{{model}}")],
            "none",
            least=0,
            width=8,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Actions under way",
            "Steps that were issued and are not over yet: capacity that is coming or going.",
            [Query(total(OWN.now(names.MODEL_IN_FLIGHT), M, S, names.STEP), f"{UNIT}: {{{{step}}}}")],
            "none",
            stacked=True,
            bars=True,
            no_value=NOTHING,
            width=4,
            drills=[drills.UNIT_SCALING],
        ),
        timeseries(
            "Servers of workloads",
            "Servers found, by phase.",
            [Query(total(OWN.now(names.WORKLOAD_MEMBERS), names.WORKLOAD, names.PHASE), "{{workload}}: {{phase}}")],
            "none",
            stacked=True,
            no_value="no workload",
            width=4,
            drills=[drills.TO_SCALING],
        ),
    ]


def _results() -> list[Panel]:
    buckets = selector(f"{names.ACTION_DURATION}_bucket", like(JOB, f"${JOB}"))
    rates = f"max by ({names.STEP}, le) (rate({buckets}[{RATE_INTERVAL}]))"
    return [
        timeseries(
            "Actions by result",
            "Steps carried out: succeeded, failed, dropped because the world had changed.",
            [Query(total(OWN.grown_lately(names.ACTIONS), names.STEP, names.STATUS), "{{step}}: {{status}}")],
            "none",
            stacked=True,
            bars=True,
            no_value=NOTHING,
            width=6,
            drills=[drills.TO_CONTROL_PLANE],
        ),
        bargauge(
            "Effects of actions",
            "What actions turned out to do in the time shown. Harmed: throughput at equal demand fell, and it was "
            "rolled back. No gain: the device is saturated.",
            [Query(total(OWN.grown(names.EFFECTS), names.VERDICT), "{{verdict}}")],
            "none",
            decimals=0,
            no_value=NOTHING,
            width=4,
            drills=[drills.TO_SLO],
        ),
        timeseries(
            "Turns within the hour",
            "How often a model turned from raising to lowering or back. Often is flapping.",
            [Query(largest(OWN.now(names.DIRECTION_CHANGES), M, S), UNIT)],
            "none",
            steps=rising(4, 6),
            least=0,
            width=4,
            drills=[drills.UNIT_SCALING],
        ),
        timeseries(
            "Duration of actions",
            "From issuing a step to its outcome: half of them, and nineteen of twenty, took at most so long.",
            [
                Query(quantile_of(0.5, rates, names.STEP), "{{step}}: p50"),
                Query(quantile_of(0.95, rates, names.STEP), "{{step}}: p95", dashed=True),
            ],
            "s",
            least=0,
            no_value="no action",
            width=5,
            drills=[drills.TO_CONTROL_PLANE],
        ),
        heatmap(
            "Durations of actions",
            "How many actions took how long.",
            Query(total(f"max by ({names.STEP}, le) (increase({buckets}[{RATE_INTERVAL}]))", "le"), "{{le}}"),
            "s",
            no_value="no action",
            width=5,
            drills=[drills.TO_CONTROL_PLANE],
        ),
    ]


def _startups() -> list[Panel]:
    by = (M, names.WORKLOAD, names.KNOB)
    learned = {q: OWN.now(names.STARTUP_S, is_(names.QUANTILE, q)) for q in ("0.5", "0.9")}
    return [
        table(
            "Learned start-up times",
            "How long each knob takes until what it adds serves; the forecast looks as far ahead. Few start-ups seen: "
            "assumed ones still weigh.",
            [
                Column(largest(learned["0.5"], *by), "Half take at most", "s", decimals=1),
                Column(largest(learned["0.9"], *by), "Nine of ten take at most", "s", decimals=1),
                Column(largest(OWN.now(names.STARTUPS_SEEN), *by), "Start-ups seen", "none"),
            ],
            by,
            width=12,
            height=7,
            no_value="none learned",
            drills=[drills.MODEL_SCALING],
        ),
        timeseries(
            "Learned start-up time, p90",
            "Nine of ten start-ups take at most so long.",
            [Query(largest(learned["0.9"], *by), "{{model}} {{workload}}: {{knob}}")],
            "s",
            least=0,
            height=7,
            no_value="none learned",
            drills=[drills.MODEL_SCALING],
        ),
    ]


def _people() -> list[Panel]:
    frozen = OWN.now(names.FREEZES_ACTIVE, OR_ALL)
    left = f"{largest(OWN.now(names.OVERRIDE_EXPIRES), M, names.WORKLOAD, names.KIND)} - time()"
    return [
        stat(
            "Overrides in force",
            "Instructions of people for the models and workloads chosen; they win over the policy.",
            Query(total(OWN.now(names.OVERRIDES_ACTIVE)), "overrides"),
            "none",
            steps=any_is(YELLOW),
            height=6,
            drills=[drills.TO_SLO],
        ),
        table(
            "Overrides and the time left",
            "The last override of a kind runs out then; afterwards the policy decides again.",
            [Column(left, "Time left", "s", falling(0, 900))],
            [M, names.WORKLOAD, names.KIND],
            width=8,
            height=6,
            no_value=NOTHING,
            drills=[drills.MODEL_SCALING],
        ),
        state_timeline(
            "Freezes",
            "When scaling was frozen, for a model, a workload or (*) for all.",
            [Query(f"clamp_max({largest(frozen, M, names.WORKLOAD)}, 1)", "{{model}}{{workload}}")],
            {1: ("frozen", YELLOW), 0: ("free", GREY)},
            width=6,
            height=6,
            drills=[drills.TO_SCALING],
        ),
        timeseries(
            "Overrides over time",
            "How many were in force.",
            [Query(largest(OWN.now(names.OVERRIDES_ACTIVE), M, names.WORKLOAD), "{{model}}{{workload}}")],
            "none",
            least=0,
            width=6,
            height=6,
            drills=[drills.MODEL_SCALING],
        ),
    ]
