"""Pending, firing, ended, told again: the book in virtual time, and the notifier over Alertmanagers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
import structlog
from prometheus_client import CollectorRegistry

from controlplane.config import Settings
from controlplane.domain import names
from controlplane.domain.alerts import BurnAlert, Severity
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Step
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Fleet
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.routing import AlertSettings, Via
from controlplane.loop.notices import KEEPS_S, LASTS_S, NoticeBook, Notifier, Refusal
from controlplane.loop.wire import build
from controlplane.publish.alerting.alertmanager import Alert, Alertmanager
from controlplane.publish.alerting.notices import Notice
from controlplane.publish.metrics.page import PictureMetrics
from tests.unit.loop.worlds import FLEET, NOW, a_decision, a_reading

SLOW = Notice((("alertname", "Slow"),), {"description": "slow"}, 60.0)
FAST = Notice((("alertname", "Fast"),), {"description": "fast"}, 0.0)
BURNS = Notice((("alertname", "Burns"),), {}, 0.0, NOW - 700.0)


def told(book: NoticeBook, to: str = "am") -> dict[str, tuple[float, float]]:
    return {alert.labels["alertname"]: (alert.starts_at - NOW, alert.ends_at - NOW) for alert in book.to_post(to)}


def test_an_alert_fires_once_its_ground_held_for_its_time() -> None:
    book = NoticeBook()
    book.look((SLOW, FAST), NOW)
    assert told(book) == {"Fast": (0.0, LASTS_S)}
    book.look((SLOW,), NOW + 59.9)
    assert "Slow" not in told(book)
    book.look((SLOW,), NOW + 60.0)
    assert told(book)["Slow"] == (0.0, 60.0 + LASTS_S + 60.0), "a restart takes its time to see it again"


def test_a_ground_that_is_gone_for_a_moment_begins_anew() -> None:
    book = NoticeBook()
    book.look((SLOW,), NOW)
    book.look((), NOW + 30.0)
    book.look((SLOW,), NOW + 45.0)
    book.look((SLOW,), NOW + 90.0)
    assert told(book) == {}, "a pending alert neither fires nor ends"
    book.look((SLOW,), NOW + 105.0)
    assert told(book) == {"Slow": (45.0, 105.0 + LASTS_S + 60.0)}


def test_an_alert_is_told_again_with_the_same_labels_and_start_and_a_later_end() -> None:
    book = NoticeBook()
    for n in range(3):
        book.look((FAST,), NOW + 15.0 * n)
        assert told(book) == {"Fast": (0.0, 15.0 * n + LASTS_S)}


def test_one_whose_start_is_known_fires_since_then_also_after_a_restart() -> None:
    for _ in range(2):
        book = NoticeBook()
        book.look((BURNS,), NOW)
        assert told(book) == {"Burns": (-700.0, LASTS_S)}


def test_a_start_in_the_future_is_now() -> None:
    book = NoticeBook()
    book.look((replace(BURNS, since=NOW + 0.0),), NOW)
    assert told(book) == {"Burns": (0.0, LASTS_S)}
    book.look((replace(BURNS, since=NOW + 5.0),), NOW + 1.0)
    assert told(book)["Burns"] == (0.0, 1.0), "an alert that has not begun yet is over"


def test_an_end_is_told_to_each_until_it_took_it() -> None:
    book = NoticeBook()
    end = 15.0 + KEEPS_S
    for at in (NOW, NOW + 14.9):
        book.look((FAST,), at)
    book.look((), NOW + 15.0)
    book.look((), NOW + end)
    assert told(book, "one") == told(book, "two") == {"Fast": (0.0, end)}
    book.taken("one", book.to_post("one"))
    book.look((), NOW + end + 15.0)
    assert told(book, "one") == {}
    assert told(book, "two") == {"Fast": (0.0, end)}
    book.look((), NOW + end + LASTS_S)
    assert told(book, "two") == {}, "it has ended there by itself"


def test_an_alert_ends_only_once_its_ground_is_gone_for_a_while() -> None:
    book = NoticeBook()
    book.look((SLOW,), NOW)
    book.look((SLOW,), NOW + 60.0)
    for at in (75.0, 194.5):
        book.look((), NOW + at)
        assert told(book) == {"Slow": (0.0, at + LASTS_S)}
    book.look((SLOW,), NOW + 194.75)
    book.look((), NOW + 195.0)
    assert told(book)["Slow"] == (0.0, 195.0 + LASTS_S), "it came back, and goes on from where it began"
    book.look((), NOW + 315.0)
    assert told(book) == {"Slow": (0.0, 315.0)}


def test_one_whose_start_is_known_ends_when_that_is_told() -> None:
    book = NoticeBook()
    book.look((BURNS,), NOW)
    book.look((), NOW + 15.0)
    assert told(book) == {"Burns": (-700.0, 15.0)}


def test_an_alert_that_fires_again_is_not_told_as_ended() -> None:
    book = NoticeBook()
    book.look((BURNS,), NOW)
    book.look((), NOW + 15.0)
    book.look((replace(BURNS, since=NOW + 30.0),), NOW + 30.0)
    assert told(book) == {"Burns": (30.0, 30.0 + LASTS_S)}


class FakeAlertmanager(Alertmanager):
    """Takes alerts unless it is told why not."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.why = ""
        self.bodies: list[Sequence[Alert]] = []
        self.told = asyncio.Event()

    async def post(self, alerts: Sequence[Alert]) -> None:
        if self.why:
            raise TargetUnreachableError(self.url, self.why)
        self.bodies.append(alerts)
        self.told.set()


class World:
    def __init__(self) -> None:
        self.now = NOW
        self.shown = Picture(NOW, FLEET, a_reading(), health=LoopHealth(leading=True))
        self.one, self.two = FakeAlertmanager("http://one"), FakeAlertmanager("http://two")
        self.notifier = Notifier(lambda: self.shown, (self.one, self.two), AlertSettings(), lambda: self.now)

    async def tell(self, after_s: float = 15.0) -> None:
        self.now += after_s
        await self.notifier.tell()


async def test_each_gets_all_and_one_that_fails_gets_it_with_the_next_look() -> None:
    world = World()
    world.shown = replace(world.shown, conditions=(Condition(AlertName.GPU_ECC, node="n", gpu="0"),))
    world.one.why = "connection refused"
    with structlog.testing.capture_logs() as logs:
        await world.tell()
        since, world.one.why = world.now, "HTTP 500"
        await world.tell()
        assert world.notifier.refusals == {"http://one": Refusal(since, "HTTP 500")}
        world.one.why = ""
        world.shown = replace(world.shown, conditions=())
        await world.tell()
        await world.tell(KEEPS_S)
    assert not world.notifier.refusals
    assert [line["log_level"] for line in logs] == ["error", "info"], "one line when it begins, one when it ends"
    assert world.notifier.posts == {"ok": 6, "failed": 2}
    ended = [alert for alert in world.one.bodies[-1] if alert.labels["alertname"] == "GpuEcc"]
    assert [alert.ends_at for alert in ended] == [world.now]
    await world.tell()
    assert {alert.labels["alertname"] for alert in world.one.bodies[-1]} == {"Watchdog"}


async def test_the_last_changes_of_a_model_are_told_with_its_alert() -> None:
    world = World()
    alert = BurnAlert("a", "x", Severity.PAGE, firing=True, since=NOW, frozen="", readings=(), capacity_share=None)
    for n in range(5):
        made = a_decision(f"d-{n}") if n < 4 else a_decision("d-h", step=Step.HOLD)
        world.shown = replace(world.shown, decisions=(made, made), alerts={"a": (alert,)})
        await world.tell()
    assert [d.id for d in world.notifier._recent["a"]] == ["d-3", "d-2", "d-1"]


async def test_nobody_is_told_where_there_is_nobody() -> None:
    asked: list[int] = []

    def picture() -> Picture:
        asked.append(1)
        raise AssertionError

    notifier = Notifier(picture, (), AlertSettings(), lambda: NOW)
    notifier.start()
    notifier.ticked()
    await asyncio.sleep(0)
    await notifier.close()
    assert (asked, notifier.posts) == ([], {})


async def test_a_tick_has_it_look_and_a_fault_of_ours_does_not_end_it() -> None:
    world = World()
    looks = asyncio.Semaphore(0)
    faults = iter((KeyError("ours"), None))

    def picture() -> Picture:
        looks.release()
        if (fault := next(faults)) is not None:
            raise fault
        return world.shown

    notifier = Notifier(picture, (world.one,), AlertSettings(), lambda: NOW)
    notifier.start()
    notifier.ticked()
    await looks.acquire()
    await asyncio.sleep(0)
    assert world.one.bodies == []
    notifier.ticked()
    await world.one.told.wait()
    await notifier.close()
    assert len(world.one.bodies) == 1


async def test_posts_are_counted_on_the_metrics_page() -> None:
    world = World()
    registry = CollectorRegistry()
    registry.register(PictureMetrics(lambda: world.shown, posts=world.notifier.posts))
    world.one.why = "connection refused"
    await world.tell()
    for result in ("ok", "failed"):
        assert registry.get_sample_value(f"{names.NOTICES}_total", {"result": result}) == 1.0


@pytest.mark.parametrize(("via", "posts"), [(Via.DIRECT, {"ok": 0, "failed": 0}), (Via.PROMETHEUS, {})])
async def test_only_via_direct_alertmanagers_are_told(via: Via, posts: dict[str, int]) -> None:
    alerts = AlertSettings(via=via, alertmanagers=("http://127.0.0.1:9",))
    plane = build(Settings(Fleet((), ()), "sqlite://", alerts=alerts))
    assert plane.notifier.posts == posts
    plane.notifier.start()
    assert (plane.notifier._task is None) is (via is Via.PROMETHEUS)
    await plane.stop()


@pytest.mark.parametrize("since", [NOW, NOW - 1e9])
def test_an_alert_has_times_that_alertmanager_reads(since: float) -> None:
    body = Alert({"alertname": "x"}, {}, since, NOW + 1.5).body()
    assert body["endsAt"] == "2023-11-14T22:13:21.500+00:00"
    assert body["startsAt"].endswith("+00:00")
