"""GPUs that wait for a reset are out of service until they are read to wait no more; those of others are not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.fleet import Mode
from controlplane.domain.gpu import GpuReading
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.state import PolicyState
from controlplane.loop.mig_resets import ResetWaits
from controlplane.loop.mig_seen import occupied
from controlplane.store.codec import POLICY_STATE
from tests.unit.loop.cut_gpus import CUT, FLEET, NOW, a_reading, a_waiting_gpu, process

SETTINGS = MigSettings(
    Mode.ACT, 600.0, 3600.0, (MigWish("small", 6.0, {"1g.10gb": 5.0}),), agents=frozenset({"node-a"})
)
WAITS = a_waiting_gpu("GPU-c")
STALE = Stale(value=False, observed_at=NOW - 90, age_s=90.0, why="agent away")


def after(*readings: tuple[GpuReading, ...]) -> ResetWaits:
    waits = ResetWaits()
    for gpus in readings:
        waits.note(occupied(FLEET, a_reading(*gpus), SETTINGS))
    return waits


@pytest.mark.parametrize(
    ("then", "waiting"),
    [
        ((replace(WAITS, mig_enabled=STALE, mig_pending=replace(STALE, value=True)),), 1),
        ((replace(WAITS, mig_enabled=Missing("lost"), mig_pending=Missing("lost")),), 1),
        ((replace(WAITS, processes=Missing("lost")),), 1),
        ((), 1),
        ((replace(WAITS, mig_enabled=Known(value=True, observed_at=NOW)),), 0),
        ((replace(WAITS, mig_pending=Known(value=False, observed_at=NOW)),), 0),
        ((replace(WAITS, processes=Known((process("", 1234),), NOW)),), 0),
    ],
    ids=["stale", "missing", "its users missing", "gone", "was reset", "was taken back", "others use it"],
)
def test_what_is_not_told_while_it_is_reset_is_not_taken_for_no(then: tuple[GpuReading, ...], waiting: int) -> None:
    """Its agent is ended for the reset."""
    assert len(after((CUT, WAITS), (CUT, *then)).uuids) == waiting


def test_who_begins_while_nobody_tells_goes_by_what_was_told_last_but_by_no_more_than_that() -> None:
    stale = replace(WAITS, mig_enabled=STALE, mig_pending=replace(STALE, value=True))
    of_others = replace(WAITS, processes=Known((process("", 1234),), NOW))
    assert after((CUT, stale)).uuids == {"GPU-c"}
    assert after((CUT, replace(stale, node="node-of-others"))).uuids == frozenset()
    assert after((CUT, of_others), (CUT, stale)).uuids == frozenset(), "that it is not ours was known when all was told"


def gone_on(before: ResetWaits, now: float, agents: frozenset[str] | None = SETTINGS.agents) -> ResetWaits:
    """Another process, with what the tick keeps of the one before, as the store gives it back."""
    kept = POLICY_STATE.load(POLICY_STATE.dump(PolicyState(slice_resets=before.kept))).slice_resets
    assert kept == before.kept
    waits = ResetWaits()
    waits.take_over(kept, agents, now)
    return waits


def test_who_begins_or_leads_while_its_agent_is_ended_knows_that_it_waits_until_it_is_read_otherwise() -> None:
    waits = gone_on(after((CUT, WAITS)), NOW + 600)
    waits.note(occupied(FLEET, a_reading(CUT), SETTINGS))
    assert waits.uuids == {"GPU-c"}
    reset = replace(WAITS, mig_enabled=Known(value=True, observed_at=NOW))
    waits.note(occupied(FLEET, a_reading(CUT, reset), SETTINGS))
    assert waits.uuids == frozenset()
    assert gone_on(waits, NOW + 600).uuids == frozenset()


def test_one_that_is_not_ours_any_more_or_not_heard_of_for_a_day_waits_no_longer() -> None:
    before = after((CUT, WAITS))
    assert gone_on(before, NOW + 86399).uuids == {"GPU-c"}
    assert gone_on(before, NOW + 86400).uuids == frozenset()
    assert gone_on(before, NOW + 600, frozenset({"node-b"})).uuids == frozenset()
    assert gone_on(before, NOW + 600, None).uuids == {"GPU-c"}


@pytest.mark.parametrize(("read_s", "waiting"), [(-30.0, {"GPU-c"}), (30.0, set())])
def test_of_two_that_read_it_the_later_word_counts(read_s: float, waiting: set[str]) -> None:
    """Who stood by has read it too."""
    stood_by = after((CUT, replace(WAITS, mig_enabled=Known(value=True, observed_at=NOW + read_s))))
    stood_by.take_over(after((CUT, WAITS)).kept, SETTINGS.agents, NOW + 60)
    assert stood_by.uuids == waiting


@pytest.mark.parametrize(
    "theirs",
    [
        replace(WAITS, node="node-of-others"),
        replace(WAITS, name="NVIDIA L4"),
        replace(WAITS, processes=Known((process("", 1234),), NOW)),
        replace(WAITS, processes=Missing("denied")),
    ],
    ids=["its node", "its board", "its user", "nobody knows its users"],
)
def test_what_is_not_ours_to_cut_holds_nothing(theirs: GpuReading) -> None:
    assert after((CUT, theirs)).uuids == frozenset()
