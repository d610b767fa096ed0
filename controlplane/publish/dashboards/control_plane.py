"""Control plane health: does it tick, in time, does it write, does it see its servers?"""

from __future__ import annotations

from controlplane.domain import names
from controlplane.publish.dashboards import drills
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.panels import (
    GREEN,
    GREY,
    NOTHING,
    RED,
    Column,
    Drill,
    Panel,
    Query,
    any_is,
    rising,
    stat,
    state_timeline,
    table,
    timeseries,
)
from controlplane.publish.dashboards.queries import INSTANCE, Own, largest, least, like, share, total

S = names.SERVER
# every replica ticks, leads or fails by itself
OWN = Own(S, names.WORKLOAD, replicas=True)
FLEET = Own(S, names.WORKLOAD)
REPLICA = "{{instance}}"
TO = [Drill(drills.FLEET, "Fleet")]


def control_plane() -> Dashboard:
    """The loop, the store, the reading, the alerting."""
    return dashboard(
        drills.CONTROL_PLANE,
        "Control plane health",
        "Ticks and how late they are, what the store takes, how the servers are read, whether alerts get out.",
        [v.PLANE, v.REPLICA, v.WORKLOAD, v.SERVER],
        [
            Row("Now", _now()),
            Row("Ticks", _ticks()),
            Row("Store and leading", _store()),
            Row("Reading and alerting", _reading()),
        ],
        marks(by_model=False),
    )


def _now() -> list[Panel]:
    last = f"time() - {least(OWN.now(names.TICK_LAST))}"
    reads = OWN.rate(names.SERVER_READS)
    bad = OWN.rate(names.SERVER_READS, like(names.RESULT, FAILED))
    return [
        stat(
            "Leading",
            "Replicas that decide and write. Exactly one should.",
            Query(total(OWN.now(names.LEADING)), "leading"),
            "none",
            steps=((None, RED), (1, GREEN), (2, RED)),
            drills=TO,
        ),
        stat(
            "Time since the last tick",
            "Of the replica that ticked longest ago.",
            Query(last, "since"),
            "s",
            steps=rising(60, 120),
            decimals=0,
            drills=TO,
        ),
        stat(
            "Store",
            "Replicas whose store cannot be read or written. What is decided then is not carried out.",
            Query(total(OWN.now(names.STORE_FAILING)), "failing"),
            "suffix:failing",
            steps=any_is(),
            drills=TO,
        ),
        stat(
            "Ticks waiting for the store",
            "Ticks kept in memory until the store is back.",
            Query(largest(OWN.now(names.TICKS_UNWRITTEN)), "waiting"),
            "none",
            steps=rising(4, 100),
            drills=TO,
        ),
        stat(
            "Reads that failed",
            "Share of the rounds in which a server could not be read.",
            Query(share(total(bad), total(reads)), "failed"),
            "percentunit",
            steps=rising(0.01, 0.1),
            decimals=1,
            no_value="no reading",
            drills=TO,
        ),
        table(
            "Version",
            "What runs where.",
            [Column(OWN.now(names.BUILD_INFO), "Runs", "none")],
            [INSTANCE, names.VERSION],
            hide_values=True,
            width=4,
            height=4,
            drills=TO,
        ),
    ]


FAILED = "failed"


def _ticks() -> list[Panel]:
    return [
        timeseries(
            "Duration of ticks",
            "How long the last tick took; dashed: the time between two ticks. One that overruns makes the next skip.",
            [
                Query(OWN.now(names.TICK_DURATION), REPLICA),
                Query(OWN.now(names.TICK_INTERVAL), f"{REPLICA}: interval", dashed=True, color=GREY),
            ],
            "s",
            least=0,
            width=8,
            drills=TO,
        ),
        timeseries(
            "Lateness of ticks",
            "How much later than due the last tick began.",
            [Query(OWN.now(names.TICK_LATENESS), REPLICA)],
            "s",
            least=0,
            steps=rising(5, 15),
            width=8,
            drills=TO,
        ),
        timeseries(
            "Ticks skipped and lost",
            "Skipped: the one before still ran. Lost: too many waited for the store; that time counts as unmeasured.",
            [
                Query(OWN.grown_lately(names.TICKS_SKIPPED), f"{REPLICA}: skipped"),
                Query(OWN.grown_lately(names.TICKS_LOST), f"{REPLICA}: lost"),
            ],
            "none",
            stacked=True,
            bars=True,
            no_value=NOTHING,
            width=8,
            drills=TO,
        ),
    ]


def _store() -> list[Panel]:
    return [
        state_timeline(
            "Which replica leads",
            "Which replica decides and writes.",
            [Query(OWN.now(names.LEADING), REPLICA)],
            {1: ("leads", GREEN), 0: ("stands by", GREY)},
            width=8,
            height=6,
            drills=TO,
        ),
        state_timeline(
            "Store over time",
            "Whether the store can be read and written.",
            [Query(OWN.now(names.STORE_FAILING), REPLICA)],
            {1: ("fails", RED), 0: ("well", GREEN)},
            width=8,
            height=6,
            drills=TO,
        ),
        timeseries(
            "Ticks waiting over time",
            "While the store is away, ticks wait in memory and are written when it is back.",
            [Query(OWN.now(names.TICKS_UNWRITTEN), REPLICA)],
            "none",
            least=0,
            width=8,
            height=6,
            drills=TO,
        ),
    ]


def _reading() -> list[Panel]:
    reads = total(FLEET.rate(names.SERVER_READS), S)
    bad = total(FLEET.rate(names.SERVER_READS, like(names.RESULT, FAILED)), S)
    return [
        timeseries(
            "Reads that failed, by server",
            "Share of the rounds in which the server could not be read.",
            [Query(share(bad, reads), "{{server}}")],
            "percentunit",
            least=0,
            most=1,
            steps=rising(0.01, 0.1),
            no_value="no reading",
            width=6,
            drills=[drills.ONE_TRITON, drills.ONE_VLLM],
        ),
        timeseries(
            "Time since a server was read",
            "After three scrapes its signals are stale: shown, and not acted on.",
            [Query(largest(FLEET.now(names.SERVER_READING_AGE), S), "{{server}}")],
            "s",
            least=0,
            steps=rising(15, 60),
            width=6,
            drills=[drills.ONE_TRITON, drills.ONE_VLLM],
        ),
        timeseries(
            "Age of listings of workloads",
            "How old the newest listing of a workload's servers is.",
            [Query(largest(FLEET.now(names.WORKLOAD_LISTING_AGE), names.WORKLOAD), "{{workload}}")],
            "s",
            least=0,
            no_value="no workload",
            width=4,
            drills=TO,
        ),
        state_timeline(
            "Workloads listed",
            "Whether the servers of a workload are known.",
            [Query(largest(FLEET.now(names.WORKLOAD_LISTED), names.WORKLOAD), "{{workload}}")],
            {1: ("listed", GREEN), 0: ("not known", RED)},
            no_value="no workload",
            width=4,
            drills=TO,
        ),
        timeseries(
            "Posts of alerts",
            "Posts to Alertmanagers per second, by result, where the control plane sends its alerts itself.",
            [Query(OWN.rate(names.NOTICES), f"{REPLICA}: {{{{result}}}}")],
            "ops",
            least=0,
            no_value="sent by Prometheus",
            width=4,
            drills=TO,
        ),
    ]
