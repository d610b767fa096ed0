"""Telling Alertmanagers what is wrong, where no Prometheus does: what is pending, what fires, what has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from controlplane.domain.decision import Decision, Step
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.picture import Picture
from controlplane.domain.routing import AlertSettings
from controlplane.loop.clock import Clock
from controlplane.publish.alerting.alertmanager import Alert, Alertmanager
from controlplane.publish.alerting.notices import Notice, notices
from controlplane.slo.alerts import AlertPolicy

log = structlog.get_logger(__name__)

RESEND_S = 60.0
LASTS_S = 4 * RESEND_S
"""So long an alert goes on when nothing more is heard of it: Prometheus does as much (4 times its resend delay). What
must hold for a while to fire goes on for that while longer, so that a restart ends nothing that begins again."""
KEEPS_S = AlertPolicy().end_after_s
"""So long an alert goes on after its ground is gone, as by the rules for a Prometheus. One whose start is known ends at
once: whoever tells the start waited already."""
_REMEMBERED = 3

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Ended:
    """An end, who knows of it, and when the alert is over for all others too."""

    alert: Alert
    until: float
    taken_by: set[str] = field(default_factory=set)


class NoticeBook:
    """Remembers from look to look since when there is ground for each alert or none, and to whom an end was told."""

    def __init__(self, lasts_s: float = LASTS_S, url: str = "") -> None:
        self._lasts_s = lasts_s
        self._url = url
        self._since: dict[Labels, float] = {}
        self._clear_since: dict[Labels, float] = {}
        self._firing: dict[Labels, Alert] = {}
        self._told_start: set[Labels] = set()
        self._ended: dict[Labels, _Ended] = {}

    def look(self, found: Iterable[Notice], now: float) -> None:
        """Take in what there is to tell now."""
        grounds = {notice.labels: notice for notice in found}
        self._clear_since = {
            labels: self._clear_since.get(labels, now)
            for labels in self._firing
            if labels not in grounds and labels not in self._told_start
        }
        kept = [labels for labels, at in self._clear_since.items() if now - at < KEEPS_S]
        self._since = {labels: self._since[labels] for labels in kept} | {
            labels: self._since.get(labels, now) if notice.since is None else notice.since
            for labels, notice in grounds.items()
        }
        firing = {
            labels: self._alert(notice, min(self._since[labels], now), now)
            for labels, notice in grounds.items()
            if now - self._since[labels] >= notice.for_s
        }
        firing |= {labels: replace(self._firing[labels], ends_at=now + self._lasts_s) for labels in kept}
        self._told_start = {labels for labels, notice in grounds.items() if notice.since is not None}
        for labels, alert in self._firing.items():
            if labels not in firing:
                self._ended[labels] = _Ended(replace(alert, ends_at=now), until=alert.ends_at)
        self._ended = {
            labels: ended for labels, ended in self._ended.items() if labels not in firing and now < ended.until
        }
        self._firing = firing

    def to_post(self, alertmanager: str) -> tuple[Alert, ...]:
        """What an Alertmanager is to be told: all that fires, and the ends that it does not know of yet."""
        unknown = (ended.alert for ended in self._ended.values() if alertmanager not in ended.taken_by)
        return (*self._firing.values(), *unknown)

    def taken(self, alertmanager: str, alerts: Sequence[Alert]) -> None:
        """Note that it took these."""
        for ended in self._ended.values():
            if ended.alert in alerts:
                ended.taken_by.add(alertmanager)

    def _alert(self, notice: Notice, since: float, now: float) -> Alert:
        until = now + self._lasts_s + notice.for_s
        return Alert(dict(notice.labels), notice.annotations, since, until, self._url)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Since when an Alertmanager takes no alerts, and what it said last in place of taking them."""

    since: float
    why: str


class Notifier:
    """Posts what there is to tell to every Alertmanager after each tick, and at least every RESEND_S seconds.

    They are told at the same time, each within its own deadline; one that does not take it is told again with the
    next look. Which of several tells people is theirs to agree on. `posts` counts by result, empty without any;
    `refusals` has, by URL, those that take none now.
    """

    def __init__(
        self,
        picture: Callable[[], Picture],
        alertmanagers: Sequence[Alertmanager],
        settings: AlertSettings,
        clock: Clock,
    ) -> None:
        self._picture = picture
        self._alertmanagers = alertmanagers
        self._settings = settings
        self._clock = clock
        self._book = NoticeBook(url=settings.console_url)
        self._recent: dict[str, deque[Decision]] = {}
        self._due = asyncio.Event()
        self.refusals: dict[str, Refusal] = {}
        self.posts = dict.fromkeys(("ok", "failed"), 0) if alertmanagers else {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if there is anybody to tell."""
        if self._alertmanagers:
            self._task = asyncio.create_task(self._run(), name="notices")

    def ticked(self) -> None:
        """Look again as soon as possible."""
        self._due.set()

    async def close(self) -> None:
        """End. What fires ends by itself if nobody goes on telling it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for alertmanager in self._alertmanagers:
            await alertmanager.close()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESEND_S):
                    await self._due.wait()
            self._due.clear()
            try:
                await self.tell()
            except Exception:
                log.exception("alerts were not told; the next look tells them")

    async def tell(self) -> None:
        """One look at the picture, and one post to each Alertmanager; nothing where another control plane leads.

        What that one goes on telling must not be ended by this one.
        """
        picture = self._picture()
        if not picture.health.leading:
            self._book = NoticeBook(url=self._settings.console_url)
            return
        self._remember(picture.decisions)
        self._book.look(notices(picture, self._recent, self._settings), self._clock())
        await asyncio.gather(*(self._post(alertmanager) for alertmanager in self._alertmanagers))

    async def _post(self, alertmanager: Alertmanager) -> None:
        url, alerts = alertmanager.url, self._book.to_post(alertmanager.url)
        try:
            await alertmanager.post(alerts)
        except TargetUnreachableError as error:
            self.posts["failed"] += 1
            known = self.refusals.get(url)
            if known is None:
                log.error("an Alertmanager takes no alerts; tried again at every tick", url=url, error=error.why)
            self.refusals[url] = Refusal(self._clock() if known is None else known.since, error.why)
            return
        self.posts["ok"] += 1
        self._book.taken(url, alerts)
        if self.refusals.pop(url, None) is not None:
            log.info("an Alertmanager takes alerts again", url=url)

    def _remember(self, decisions: Iterable[Decision]) -> None:
        """Keep the last few of each model that changed something, newest first."""
        for decision in decisions:
            recent = self._recent.setdefault(decision.model, deque(maxlen=_REMEMBERED))
            if decision.step is not Step.HOLD and all(known.id != decision.id for known in recent):
                recent.appendleft(decision)
