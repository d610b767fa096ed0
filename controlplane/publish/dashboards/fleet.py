"""Fleet overview: is anything wrong, and with what?"""

from __future__ import annotations

from controlplane.domain import names
from controlplane.domain.observation import Counter
from controlplane.publish.dashboards import drills
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.outcomes import FAILED
from controlplane.publish.dashboards.panels import (
    GREEN,
    NO_TRAFFIC,
    NOTHING,
    RED,
    YELLOW,
    Column,
    Panel,
    Query,
    any_is,
    budget_left,
    rising,
    stat,
    state_timeline,
    table,
    timeseries,
)
from controlplane.publish.dashboards.queries import Own, both, largest, least, like, share, total

M, S = names.MODEL, names.SERVER
OWN = Own(M, S, names.WORKLOAD)
REQUESTS = names.MODEL_COUNTERS[Counter.REQUESTS]


def fleet() -> Dashboard:
    """The dashboard to begin with."""
    return dashboard(
        drills.FLEET,
        "Fleet overview",
        "Is any model burning its error budget, is any server down, does the fleet hold the load? Everything links on.",
        [v.PLANE, v.MODEL, v.WORKLOAD, v.SERVER],
        [
            Row("Now", _now()),
            Row("Models", [_models(), _wrong()]),
            Row("Load", _load()),
            Row("Servers", _servers()),
        ],
        marks(by_model=True),
    )


def _now() -> list[Panel]:
    busy = OWN.rate(names.GPU_BUSY_S)
    seen = both(OWN.rate(names.GPU_S), busy)
    return [
        stat(
            "Burn alerts firing",
            "Alerts on burning error budgets that fire now, pages and tickets.",
            Query(total(OWN.now(names.ALERT_FIRING)), "firing"),
            "none",
            steps=any_is(),
            drills=[drills.TO_SLO],
        ),
        stat(
            "Conditions",
            "Things other than burning budgets that are wrong now; the table below names them.",
            Query(f"{total(OWN.now(names.CONDITION))} or 0 * {largest(OWN.now(names.TICKS_UNWRITTEN))}", ""),
            "none",
            steps=any_is(YELLOW),
            drills=[drills.TO_CONTROL_PLANE],
        ),
        stat(
            "Least budget left",
            "Share of the error budget that is unspent, of the objective that has least. Negative: overspent.",
            Query(least(OWN.now(names.OBJECTIVE_BUDGET_LEFT)), "least"),
            "percentunit",
            steps=budget_left(),
            decimals=1,
            drills=[drills.TO_SLO],
        ),
        stat(
            "Servers down",
            "Servers that are known not to answer. One of which nothing is known is not among them: see reading age.",
            Query(total(f"1 - {OWN.now(names.SERVER_LIVE)}"), "down"),
            "none",
            steps=any_is(),
            drills=[drills.TO_CONTROL_PLANE],
        ),
        stat(
            "GPU time in use",
            "Share of the time of GPUs in which they executed something, of all that tell it.",
            Query(share(total(busy), total(seen)), "in use"),
            "percentunit",
            decimals=0,
            no_value="no GPU",
            drills=[drills.TO_GPU],
        ),
        stat(
            "Scaling",
            "Freezes in force, of all models and of single ones: while there are any, not everything is scaled.",
            Query(total(OWN.now(names.FREEZES_ACTIVE)), "freezes"),
            "suffix:frozen",
            steps=any_is(YELLOW),
            drills=[drills.TO_SCALING],
        ),
    ]


def _models() -> Panel:
    wanted = total(OWN.now(names.MODEL_DESIRED_INSTANCES), M)
    ready = total(OWN.now(names.MODEL_INSTANCES), M)
    return table(
        "Models",
        "One line a model: its worst objective, what is asked of it and what serves it. An empty cell is not known.",
        [
            Column(
                least(OWN.now(names.OBJECTIVE_BUDGET_LEFT), M),
                "Budget left",
                "percentunit",
                budget_left(),
                decimals=1,
            ),
            Column(
                largest(OWN.now(names.OBJECTIVE_BURN_RATE, like(names.WINDOW, "1h")), M),
                "Burn, 1 h",
                "none",
                rising(1, 6),
                2,
            ),
            Column(total(OWN.now(names.ALERT_FIRING), M), "Alerts", "none", any_is()),
            Column(total(OWN.now(names.MODEL_DEMAND), M), "Planned for", "reqps", decimals=1),
            Column(total(OWN.now(names.MODEL_CAPACITY), M), "Capacity", "reqps", decimals=1),
            Column(ready, "Instances", "none"),
            Column(wanted, "Desired", "none"),
            Column(total(OWN.now(names.MODEL_PENDING), M), "Waiting", "none"),
        ],
        [M],
        width=15,
        height=9,
        drills=[drills.MODEL_SLO, drills.MODEL_SCALING, drills.MODEL_COST],
    )


def _wrong() -> Panel:
    labels = (names.ALERT, M, S, names.NODE, names.GPU, names.KIND, names.CAUSE)
    return table(
        "Wrong now",
        "Every condition that an alert tells of, as the control plane sees it. Empty: nothing is wrong.",
        [Column(largest(OWN.now(names.CONDITION), *labels), "Wrong", "none")],
        labels,
        hide_values=True,
        width=9,
        height=9,
        no_value=NOTHING,
        drills=[drills.TO_SCALING],
    )


def _load() -> list[Panel]:
    asked = total(OWN.rate(REQUESTS), M)
    failed = total(OWN.rate(REQUESTS, like(names.OUTCOME, FAILED)), M)
    return [
        timeseries(
            "Requests ended",
            "Requests per second that the servers ended, however they ended.",
            [Query(asked, "{{model}}")],
            "reqps",
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
        timeseries(
            "Failed share",
            "Share of the requests that servers failed or turned away. No line where there was no traffic.",
            [Query(share(failed, asked), "{{model}}")],
            "percentunit",
            steps=rising(0.01, 0.05),
            no_value=NO_TRAFFIC,
            least=0,
            width=8,
            drills=[drills.MODEL_SLO],
        ),
        timeseries(
            "Planned demand by capacity",
            "How much of what is loaded the demand planned for takes. Above 1 the objectives do not hold.",
            [Query(share(total(OWN.now(names.MODEL_DEMAND), M), total(OWN.now(names.MODEL_CAPACITY), M)), "{{model}}")],
            "percentunit",
            steps=rising(0.8, 1),
            least=0,
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
    ]


def _servers() -> list[Panel]:
    return [
        state_timeline(
            "Servers",
            "Whether each server answers. A gap: not known. A dead backend may answer all the same.",
            [Query(largest(OWN.now(names.SERVER_LIVE), S), "{{server}}")],
            {1: ("answers", GREEN), 0: ("down", RED)},
            drills=[drills.ONE_TRITON, drills.ONE_VLLM],
        ),
        timeseries(
            "Time since a server was read",
            "Grows while a server does not answer; after three scrapes its signals are stale and nothing is lowered.",
            [Query(largest(OWN.now(names.SERVER_READING_AGE), S), "{{server}}")],
            "s",
            steps=rising(15, 60),
            width=6,
            drills=[drills.TO_CONTROL_PLANE],
        ),
        timeseries(
            "Servers of workloads",
            "Servers that discovery found, by phase.",
            [Query(total(OWN.now(names.WORKLOAD_MEMBERS), names.WORKLOAD, names.PHASE), "{{workload}}: {{phase}}")],
            "none",
            stacked=True,
            no_value="no workload",
            width=6,
            drills=[drills.TO_SCALING],
        ),
    ]
