"""Model SLO: which budget burns, since when, how much is left, and how much of it was measured."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.publish.dashboards import drills
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.panels import (
    GREEN,
    GREY,
    NO_TRAFFIC,
    RED,
    YELLOW,
    Column,
    Panel,
    Query,
    any_is,
    budget_left,
    falling,
    rising,
    stat,
    state_timeline,
    table,
    timeseries,
)
from controlplane.publish.dashboards.queries import Own, is_, largest, least, like, share, total

M, OBJ, W = names.MODEL, names.OBJECTIVE, names.WINDOW
OWN = Own(M, OBJ)
ONE = "{{model}}: {{objective}}"
GONE = "budget lasts"


def slo() -> Dashboard:
    """Objectives of models."""
    return dashboard(
        drills.SLO,
        "Model SLO",
        "Attainment, error budget and burn rate of every objective, with how much of the time was measured.",
        [v.PLANE, v.MODEL, v.OBJECTIVE],
        [
            Row("Now", [*_now(), _table()]),
            Row("Attainment and budget", _attainment()),
            Row("Burn", _burn()),
            Row("Events", _events()),
            Row("Alerts and coverage", _alerts()),
        ],
        marks(by_model=True),
        since="now-24h",
    )


def _burn_of(window: str) -> str:
    return OWN.now(names.OBJECTIVE_BURN_RATE, is_(W, window))


def _now() -> list[Panel]:
    return [
        stat(
            "Alerts firing",
            "Burn alerts of the objectives chosen that fire now.",
            Query(total(OWN.now(names.ALERT_FIRING)), "firing"),
            "none",
            steps=any_is(),
            drills=[drills.TO_SCALING],
        ),
        stat(
            "Alerts frozen",
            "Burn alerts that cannot be judged now, because too little is measured, and stay what they were.",
            Query(total(OWN.now(names.ALERT_FROZEN)), "frozen"),
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
            drills=[drills.TO_SCALING],
        ),
        stat(
            "Highest burn rate, 1 h",
            "1: spends just the budget over the objective's window.",
            Query(largest(_burn_of("1h")), "highest"),
            "none",
            steps=rising(1, 6),
            decimals=2,
            no_value=NO_TRAFFIC,
            drills=[drills.TO_SCALING],
        ),
        stat(
            "Soonest exhaustion",
            "When the first budget is spent if the burn of the last hour goes on.",
            Query(least(OWN.now(names.OBJECTIVE_EXHAUSTED, is_(W, "1h"))), "soonest"),
            "s",
            steps=falling(6 * 3600.0, 3 * 86400.0),
            no_value=GONE,
            drills=[drills.TO_SCALING],
        ),
        stat(
            "Least coverage",
            "Share of the window that was measured, of the objective that has least. Unmeasured time is not uptime.",
            Query(least(OWN.now(names.OBJECTIVE_COVERAGE)), "least"),
            "percentunit",
            steps=falling(0.5, 0.95),
            decimals=1,
            drills=[drills.TO_CONTROL_PLANE],
        ),
    ]


def _table() -> Panel:
    attained = {bound: OWN.now(names.OBJECTIVE_ATTAINMENT, is_(names.BOUND, bound)) for bound in ("low", "high")}
    exhausted = OWN.now(names.OBJECTIVE_EXHAUSTED, is_(W, "1h"))
    return table(
        "Objectives",
        "Every objective over its window. Low and high attainment differ where the threshold cuts a histogram bucket. "
        "An empty cell is not known: without events there is no attainment.",
        [
            Column(largest(OWN.now(names.OBJECTIVE_TARGET), M, OBJ), "Target", "percentunit", decimals=2),
            Column(largest(attained["low"], M, OBJ), "Attained, low", "percentunit", decimals=3),
            Column(largest(attained["high"], M, OBJ), "Attained, high", "percentunit", decimals=3),
            Column(
                largest(OWN.now(names.OBJECTIVE_BUDGET_LEFT), M, OBJ), "Budget left", "percentunit", budget_left(), 1
            ),
            Column(largest(_burn_of("5m"), M, OBJ), "Burn, 5 min", "none", rising(1, 6), 2),
            Column(largest(_burn_of("1h"), M, OBJ), "Burn, 1 h", "none", rising(1, 6), 2),
            Column(largest(_burn_of("6h"), M, OBJ), "Burn, 6 h", "none", rising(1, 6), 2),
            Column(largest(exhausted, M, OBJ), "Spent in", "s", falling(6 * 3600.0, 3 * 86400.0)),
            Column(
                largest(OWN.now(names.OBJECTIVE_COVERAGE), M, OBJ), "Measured", "percentunit", falling(0.5, 0.95), 1
            ),
        ],
        [M, OBJ],
        width=24,
        height=8,
        drills=[drills.ONE_SLO, drills.MODEL_SCALING, drills.MODEL_COST],
    )


def _attainment() -> list[Panel]:
    low = OWN.now(names.OBJECTIVE_ATTAINMENT, is_(names.BOUND, "low"))
    high = OWN.now(names.OBJECTIVE_ATTAINMENT, is_(names.BOUND, "high"))
    return [
        timeseries(
            "Attainment over the window",
            "Share of good events over the objective's window: at least low, at most high. Dashed: the target.",
            [
                Query(largest(low, M, OBJ), f"{ONE}, low"),
                Query(largest(high, M, OBJ), f"{ONE}, high"),
                Query(largest(OWN.now(names.OBJECTIVE_TARGET), M, OBJ), f"{ONE}, target", dashed=True, color=GREY),
            ],
            "percentunit",
            most=1,
            no_value=NO_TRAFFIC,
            drills=[drills.MODEL_SCALING],
        ),
        timeseries(
            "Error budget left",
            "The budget burning down: 100 % is untouched, below 0 the objective is missed. It comes back as bad events "
            "leave the window.",
            [Query(largest(OWN.now(names.OBJECTIVE_BUDGET_LEFT), M, OBJ), ONE)],
            "percentunit",
            steps=budget_left(),
            most=1,
            no_value=NO_TRAFFIC,
            drills=[drills.MODEL_SCALING],
        ),
    ]


def _burn() -> list[Panel]:
    panels = []
    for window, short in (("1h", "5m"), ("6h", "")):
        factor = largest(OWN.now(names.ALERT_FACTOR, is_(W, window)), M, OBJ, names.SEVERITY)
        queries = [Query(largest(_burn_of(window), M, OBJ), f"{ONE}, {window}")]
        if short:
            queries.append(Query(largest(_burn_of(short), M, OBJ), f"{ONE}, {short}"))
        queries.append(Query(factor, f"{ONE}, {{{{severity}}}} above", dashed=True, color=RED))
        panels.append(
            timeseries(
                f"Burn rate, {window}",
                "Speed of spending: at 1 the budget lasts just the window. Dashed: what the alert of this window fires "
                "above, lowered where the usual factor could never be reached. It also needs the short window and "
                "enough bad events.",
                queries,
                "none",
                least=0,
                decimals=2,
                no_value=NO_TRAFFIC,
                width=8,
                drills=[drills.MODEL_SCALING],
            )
        )
    return [
        *panels,
        timeseries(
            "Budget spent in",
            "Time until the budget is spent at the burn of the last hour, and of the last six. No line: it lasts.",
            [
                Query(
                    largest(OWN.now(names.OBJECTIVE_EXHAUSTED, like(W, "1h|6h")), M, OBJ, W),
                    f"{ONE}, at {{{{window}}}}",
                )
            ],
            "s",
            steps=falling(6 * 3600.0, 3 * 86400.0),
            no_value=GONE,
            least=0,
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
    ]


def _events() -> list[Panel]:
    events = OWN.rate(names.OBJECTIVE_EVENTS)
    bad = OWN.rate(names.OBJECTIVE_EVENTS, is_(names.RESULT, "bad"))
    return [
        timeseries(
            "Events",
            "Events judged per second. Unsure: in a histogram bucket that the threshold cuts, good or bad.",
            [
                Query(total(OWN.rate(names.OBJECTIVE_EVENTS, is_(names.RESULT, result)), M, OBJ), said, color=color)
                for result, said, color in (
                    ("good", f"{ONE}, good", GREEN),
                    ("unsure", f"{ONE}, unsure", GREY),
                    ("bad", f"{ONE}, bad", RED),
                )
            ],
            "eps",
            stacked=True,
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
        timeseries(
            "Bad share",
            "Share of events that are bad for certain. Dashed: the share that just lasts the window.",
            [
                Query(share(total(bad, M, OBJ), total(events, M, OBJ)), ONE),
                Query(
                    f"1 - {largest(OWN.now(names.OBJECTIVE_TARGET), M, OBJ)}",
                    f"{ONE}, allowed",
                    dashed=True,
                    color=GREY,
                ),
            ],
            "percentunit",
            least=0,
            no_value=NO_TRAFFIC,
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
        timeseries(
            "Bad events that capacity explains",
            "Share of the bad events that came with queueing or demand near capacity. Low while a budget burns: look "
            "at the release or the backend, more instances will not help.",
            [Query(share(total(OWN.rate(names.OBJECTIVE_BAD_OF_CAPACITY), M, OBJ), total(bad, M, OBJ)), ONE)],
            "percentunit",
            least=0,
            most=1,
            no_value="no bad event",
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
    ]


def _alerts() -> list[Panel]:
    by = (M, OBJ, names.SEVERITY)
    return [
        state_timeline(
            "Burn alerts",
            "Whether the alert of each severity fires.",
            [Query(largest(OWN.now(names.ALERT_FIRING), *by), f"{ONE}, {{{{severity}}}}")],
            {1: ("fires", RED), 0: ("quiet", GREEN)},
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
        state_timeline(
            "Frozen alerts",
            "Where too little was measured to judge: the alert stays what it was, it does not resolve.",
            [Query(largest(OWN.now(names.ALERT_FROZEN), *by), f"{ONE}, {{{{severity}}}}")],
            {1: ("frozen", YELLOW), 0: ("judged", GREEN)},
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
        timeseries(
            "Measured share of time",
            "How much of the time that should have been measured was: over the objective's window, and now (dashed).",
            [
                Query(largest(OWN.now(names.OBJECTIVE_COVERAGE), M, OBJ), f"{ONE}, window"),
                Query(
                    share(
                        total(OWN.rate(names.OBJECTIVE_MEASURED_S), M, OBJ),
                        total(OWN.rate(names.OBJECTIVE_EXPECTED_S), M, OBJ),
                    ),
                    f"{ONE}, now",
                    dashed=True,
                ),
            ],
            "percentunit",
            steps=falling(0.5, 0.95),
            least=0,
            most=1,
            width=8,
            drills=[drills.MODEL_SCALING],
        ),
    ]
