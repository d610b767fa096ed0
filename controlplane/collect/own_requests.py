"""Requests of our own among those that a server has counted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from controlplane.domain.observation import Interval

# A server may count a request a moment after its answer.
_COUNTED_S = 1.0
_REMEMBERED = 4096
"""Newest probes that are remembered while no reading comes that could count them."""


@dataclass(eq=False, slots=True)
class _OwnRequest:
    began_at: float
    finished_at: float | None = None


class OwnRequests:
    """Tells which of the completed requests of a model were our own probes.

    A probe under way while counters are read may be counted in this interval or in the next. It is taken to be in the
    first one with completions to spare, so that an idle model with probes shows as many probes as completions; by as
    many as were under way at its ends an interval may be wrong. An interval may be told late: what began after its end
    is not in it.
    """

    def __init__(self) -> None:
        self._open: deque[_OwnRequest] = deque(maxlen=_REMEMBERED)
        self._sent: deque[_OwnRequest] = deque(maxlen=_REMEMBERED)
        self._under_way = 0
        self._turned_away: deque[_OwnRequest] = deque(maxlen=_REMEMBERED)

    def begin(self, at: float) -> _OwnRequest:
        """A probe is about to be sent."""
        request = _OwnRequest(at)
        self._open.append(request)
        self._sent.append(request)
        return request

    def end(self, request: _OwnRequest, at: float, *, counted: bool, turned_away: bool = False) -> None:
        """It came to its end; `counted` False: the server refused it before counting it anywhere.

        `turned_away`: because its queue was full.
        """
        request.finished_at = at
        if turned_away:
            self._turned_away.append(request)
        if not counted and request in self._open:
            self._open.remove(request)

    def forget(self) -> None:
        """The process has ended: the next one counts none of those begun so far."""
        for requests in (self._open, self._sent, self._turned_away):
            requests.clear()
        self._under_way = 0

    def settle(self, interval: Interval) -> Interval:
        """The interval with its `probes`."""
        self._open = _not_ended(self._open, interval.start)
        probes = min(sum(request.began_at <= interval.end for request in self._open), interval.completed)
        for _ in range(probes):
            self._open.popleft()
        before = self._under_way
        turned_away = any(request.began_at <= interval.end for request in self._turned_away)
        self.expire(interval.end)
        if not (probes or before or self._under_way or turned_away):
            return interval
        return replace(
            interval, probes=probes, probes_start=before, probes_end=self._under_way, turned_away=turned_away
        )

    def expire(self, at: float) -> None:
        """Forget those that had ended by `at`: no later interval counts them."""
        self._open, self._sent = _not_ended(self._open, at), _not_ended(self._sent, at)
        self._under_way = sum(request.began_at <= at for request in self._sent)
        while self._turned_away and self._turned_away[0].began_at <= at:
            self._turned_away.popleft()


def _not_ended(requests: deque[_OwnRequest], at: float) -> deque[_OwnRequest]:
    """Those that may be counted after `at`."""
    left = (r for r in requests if r.finished_at is None or r.finished_at > at - _COUNTED_S)
    return deque(left, maxlen=_REMEMBERED)
