"""What people said would come is there when it comes: instances that take their time, over simulated minutes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from controlplane.domain.decision import ReasonCode
from controlplane.domain.expected import Schedule
from controlplane.domain.fleet import Fleet
from controlplane.loop.schedules import Calendar
from tests.unit.decide.replicas import KNOWN, MODEL, NOW, SPEC, decided, under, wanted
from tests.world.batcher import LINES, SimModel
from tests.world.world import DECIDE_S, T0, one_model


def schedule(start: float, least: int, lasts_s: float) -> Schedule:
    at = datetime.fromtimestamp(start, UTC)
    assert at.second == 0
    return Schedule(f"{at.minute} {at.hour} * * *", ZoneInfo("UTC"), lasts_s, least)


def whole_minute(after: float) -> float:
    return (after // 60 + 1) * 60


async def test_instances_are_up_before_the_schedule_begins_and_go_after_it() -> None:
    start = whole_minute(T0 + 240.0)
    sim = SimModel("m", LINES["bert"], rates=((T0, 5.0),))
    async with one_model(sim, schedules=(schedule(start, 4, 300.0),)) as world:
        await world.run(start - 60.0 - T0)
        assert sim.count == 1, "no earlier than it has to be"
        await world.run(59.0)
        assert sim.count == 4
        await world.run(300.0)
        assert sim.count == 4
        await world.run(120.0)
        assert sim.count == 1
    assert ReasonCode.SCHEDULE in {decision.binding for decision in world.decisions}


async def test_instances_are_up_before_what_was_announced_comes() -> None:
    start, sim = T0 + 300.0, SimModel("m", LINES["bert"], rates=((T0, 5.0),))
    async with one_model(sim) as world:
        await world.run(100.0)
        assert sim.count == 1
        said = {"factor": 1.0, "per_s": 100.0, "actor": "ann", "reason": "press at 9"}
        await world.desk.announce("sale", "m", start, start + 600.0, **said)  # type: ignore[arg-type]
        await world.run(start - world.now - 1.0)
        assert sim.count >= 2
        explained = [reason for decision in world.decisions for reason in decision.reasons]
        assert "sale" in {reason.words.get("event") for reason in explained}


def test_replicas_are_up_before_the_schedule_begins() -> None:
    start, startup_s = whole_minute(NOW + 900.0), 100.0
    fleet = Fleet((), (MODEL,), workloads=(replace(SPEC, schedules=(schedule(start, 4, 600.0),)),))
    asked_at, calendar, state, now = [NOW - 9000.0], Calendar(), replace(KNOWN, asked=1), NOW
    while now < start + 900.0:
        serving = sum(1 for at in asked_at if at + startup_s <= now)
        floors = calendar.floors(fleet, now)["fleet"]
        starting = [at for at in asked_at if at + startup_s > now]
        decision, state = decided(under(2.0, serving, starting, now=now, floors=floors), state, now)
        asked_at = (asked_at + [now] * 9)[: wanted(decision)]
        if now < start - startup_s - 2 * DECIDE_S:
            assert serving == 1
        elif start <= now < start + 600.0:
            assert serving == 4
        now += DECIDE_S
    assert len(asked_at) == 1
