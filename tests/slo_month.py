"""Four weeks of plausible history: days and nights, an incident, a gap, corrections, a target that changed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

from controlplane.domain.alerts import Severity
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Mode
from controlplane.domain.history import Adjustment, AdjustmentKind, AlertEvent, BucketRow, ObjectiveVersion
from controlplane.domain.objectives import Indicator, Objective, Slice
from controlplane.domain.ports import Store
from controlplane.domain.records import AuditEntry, TickRecord
from controlplane.domain.state import PolicyState

DAY_S, HOUR_S = 86400.0, 3600.0
NOW = 1_795_341_600.0
"""22 November 2026, 10:00 UTC."""
SINCE = NOW - 28 * DAY_S
_A_WRITE = 2000
STEP_S = 600.0
"""One slice stands for so many seconds: a month by tens of seconds would take minutes to write."""
EDGES = (0.05, 0.1, 0.15, 0.25, 0.5, 1.0)

CONFIGURATION = """
mode: act
servers:
  - {name: triton-0, kind: triton, http: "http://127.0.0.1:8000", grpc: "127.0.0.1:8001", metrics: "http://127.0.0.1:8002/metrics"}
  - {name: vllm-0, kind: vllm, http: "http://127.0.0.1:8010"}
gateways:
  - {name: edge, page: "http://127.0.0.1:9000/metrics", histogram: request_seconds, model_label: model}
models:
  - name: bert_classifier
    runs_on: [triton-0]
    instances: {min: 1, max: 8}
    objectives:
      - {latency: 100ms, target: 99%, window: 28d, source: gateway}
      - {availability: 99.9%, window: 28d}
  - name: llama-8b
    runs_on: [vllm-0]
    objectives:
      - {ttft: 700ms, target: 99%, window: 28d}
  - name: resnet50_detector
    runs_on: [triton-0]
    instances: {min: 1, max: 4}
    objectives:
      - {availability: 99.5%, window: 28d}
  - name: nightly_batch
    runs_on: [triton-0]
    objectives:
      - {availability: 99%, window: 7d}
"""

INCIDENT = SINCE + 17 * DAY_S + 4 * HOUR_S
GAP = (SINCE + 8 * DAY_S + 2 * HOUR_S, SINCE + 8 * DAY_S + 22 * HOUR_S)
LOAD_TEST = (SINCE + 22 * DAY_S + 13 * HOUR_S, SINCE + 22 * DAY_S + 15 * HOUR_S)
RETARGETED = SINCE + 10 * DAY_S


def fill(store: Store, models: dict[str, tuple[Objective, ...]]) -> None:
    """Write the month of these models' objectives, as ticks and people would have."""
    chance = random.Random(7)  # noqa: S311 - a history, not a secret
    latency, availability = models["bert_classifier"]
    batch = models["nightly_batch"][0]
    slices = [
        *_bert(latency, chance),
        *_plain("bert_classifier", availability, 40.0, 0.0004, chance),
        *_llama(models["llama-8b"][0], chance),
        *_plain("resnet50_detector", models["resnet50_detector"][0], 6.0, 0.009, chance),
        *(replace(s, good=0, bad=0) for s in _plain("nightly_batch", batch, 1.0, 0.0, chance)),
    ]
    histograms = [*_histograms(latency, chance)]
    empty = TickRecord(NOW, (), (), (), PolicyState())
    for first in range(0, len(slices), _A_WRITE):
        part = slice(first, first + _A_WRITE)
        store.write_tick(replace(empty, slices=tuple(slices[part]), histograms=tuple(histograms[part])))
    store.write_tick(
        replace(
            empty,
            decisions=tuple(_decisions()),
            versions=tuple(_versions(models)),
            alert_events=tuple(_alerts(latency)),
        )
    )
    _scaled(store)
    _people(store, latency)


def hours(at: float) -> float:
    return at % DAY_S / HOUR_S


def load(at: float) -> float:
    """Share of the highest load: quiet nights, quieter weekends."""
    weekend = 0.55 if (at // DAY_S + 4) % 7 in {0, 6} else 1.0
    by_day = max(0.0, math.sin((hours(at) - 6) / 14 * math.pi))
    return float(weekend * (0.25 + 0.75 * by_day**1.3))


def _times() -> Iterator[float]:
    return (SINCE + n * STEP_S for n in range(int(28 * DAY_S / STEP_S)))


def _slice(
    model: str, objective: Objective, at: float, events: int, bad: int, unsure: int = 0, share: float = 1.0
) -> Slice:
    short = bad // 2 if INCIDENT <= at < INCIDENT + 2 * HOUR_S else 0
    measured = STEP_S * share
    return Slice(
        model, objective.key, at, events - bad - unsure, bad, unsure, measured, STEP_S, objective.version, short
    )


def _bad_share(at: float) -> float:
    if INCIDENT <= at < INCIDENT + 1.5 * HOUR_S:
        return 0.16
    return 0.09 if LOAD_TEST[0] <= at < LOAD_TEST[1] else 0.0016 + 0.003 * load(at)


def _bert(objective: Objective, chance: random.Random) -> Iterator[Slice]:
    for at in _times():
        events = int(40 * load(at) * STEP_S * chance.uniform(0.9, 1.1))
        yield _slice("bert_classifier", objective, at, events, int(events * _bad_share(at) * chance.uniform(0.7, 1.3)))


def _histograms(objective: Objective, chance: random.Random) -> Iterator[BucketRow]:
    for at in _times():
        events = 40 * load(at) * STEP_S
        bad = _bad_share(at) * chance.uniform(0.7, 1.3)
        shares = (0.6, 0.4 - bad, bad * 0.5, bad * 0.3, bad * 0.15, bad * 0.05, 0.0)
        counts = tuple(int(events * share) for share in shares)
        yield BucketRow("bert_classifier", objective.indicator, "edge", at, EDGES, counts)


def _plain(model: str, objective: Objective, rate: float, bad: float, chance: random.Random) -> Iterator[Slice]:
    for at in _times():
        events = int(rate * load(at) * STEP_S * chance.uniform(0.9, 1.1))
        yield _slice(model, objective, at, events, int(events * bad * chance.uniform(0.2, 1.9)))


def _llama(objective: Objective, chance: random.Random) -> Iterator[Slice]:
    for at in _times():
        if GAP[0] <= at < GAP[1]:
            continue
        events = int(3 * load(at) * STEP_S * chance.uniform(0.8, 1.2))
        yield _slice(
            "llama-8b", objective, at, events, int(events * 0.007 * chance.uniform(0.2, 1.9)), int(events * 0.009)
        )


def _versions(models: dict[str, tuple[Objective, ...]]) -> list[ObjectiveVersion]:
    made = []
    for model, objectives in models.items():
        for objective in objectives:
            since = SINCE - 100 * DAY_S
            if objective.indicator is Indicator.LATENCY:
                before = replace(objective, target=0.995)
                made.append(ObjectiveVersion(model, before.version, before, since))
                since = RETARGETED
            made.append(ObjectiveVersion(model, objective.version, objective, since))
    return made


def _alerts(objective: Objective) -> list[AlertEvent]:
    def alert(at: float, severity: Severity, summary: str, *, firing: bool) -> AlertEvent:
        return AlertEvent(at, "bert_classifier", objective.key, severity, firing, summary)

    page = "5.0 % of the budget burned in 1 h"
    return [
        alert(INCIDENT + 360, Severity.PAGE, page, firing=True),
        alert(INCIDENT + 1.7 * HOUR_S, Severity.PAGE, page, firing=False),
        alert(LOAD_TEST[0] + 1500, Severity.TICKET, "10 % of the budget burned in 1 d", firing=True),
        alert(LOAD_TEST[1] + 9 * HOUR_S, Severity.TICKET, "10 % of the budget burned in 1 d", firing=False),
    ]


def _decisions() -> Iterator[Decision]:
    """Two steps up each morning, two down each evening, and two at once in the incident."""
    instances, moments = 2, []
    for day in range(28):
        start = SINCE + day * DAY_S
        moments += [start + (h - 10) % 24 * HOUR_S for h in (9.2, 10.6, 18.4, 20.1)]
    moments += [INCIDENT + 900.0]
    for n, at in enumerate(sorted(moments)):
        wanted = instances + (2 if at == INCIDENT + 900.0 else 1 if hours(at) < 12 else -1)
        wanted = max(1, min(8, wanted))
        if wanted == instances:
            continue
        reasons = (Reason(ReasonCode.DEMAND, {"demand_per_s": 40 * load(at), "low_per_s": 30.0, "high_per_s": 44.0}),)
        yield Decision(
            f"de-{n:04d}",
            at,
            "bert_classifier",
            "triton-0",
            Mode.ACT,
            Step.SET_INSTANCES,
            Target(loaded=True, instances=instances),
            Target(loaded=True, instances=wanted),
            reasons,
            ReasonCode.DEMAND,
        )
        instances = wanted


def _scaled(store: Store) -> None:
    for made in _decisions():
        assert made.target is not None
        action = Action(made.id, made.model, made.server, made.step, made.target, made.at)
        store.start_action(action)
        store.finish_action(Outcome(action, ActionStatus.SUCCEEDED, made.at + 0.4))


def _people(store: Store, objective: Objective) -> None:
    bad = store.counts("bert_classifier", objective.key, *LOAD_TEST).bad
    for adjustment in (
        Adjustment(
            "ad-maintenance",
            SINCE + 14 * DAY_S,
            "ann",
            "planned: new network in the rack",
            AdjustmentKind.EXCLUDE,
            "",
            "",
            SINCE + 15 * DAY_S + 16 * HOUR_S,
            SINCE + 15 * DAY_S + 20 * HOUR_S,
        ),
        Adjustment(
            "ad-load-test",
            LOAD_TEST[1] + HOUR_S,
            "ben",
            "a load test of team A hit production",
            AdjustmentKind.EVENTS,
            "bert_classifier",
            objective.key,
            *LOAD_TEST,
            -bad,
        ),
    ):
        store.add_adjustment(adjustment)
    store.audit(AuditEntry(INCIDENT + 2400, "ann", "freeze", "bert_classifier", "no_down; INC-1234; for 7200 s"))
