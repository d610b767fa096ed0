"""Asks where models are to be, as a slow job, when what is wanted or there has changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from controlplane.decide.placing import Placement, PlacementQuestion, place
from controlplane.decide.placing.question import question
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from controlplane.loop.slow_job import SlowJob

log = structlog.get_logger(__name__)

_AGAIN_S = 600.0
"""What is done is looked at anew so often: measured memory and failures of a solver change without a question."""
_COARSE_BYTES = 2**28
"""Free GPU memory is read anew all the time; what has changed by less is the same."""


class Placer:
    """The newest placement behind each gateway that routes by model. Nothing here waits but `close`.

    `answer` places; another worker process for each gateway, none as long as there is no gateway.
    """

    def __init__(self, answer: Callable[[PlacementQuestion], Placement] = place) -> None:
        self._answer = answer
        self._jobs: dict[str, SlowJob[PlacementQuestion, Placement]] = {}
        self._asked: dict[str, tuple[PlacementQuestion, float]] = {}
        self._why: dict[str, str] = {}

    def newest(self, now: float) -> dict[str, Signal[Placement]]:
        """By gateway. A placement does not age: it holds until there is another."""
        return {name: self._newest(name, job, now) for name, job in self._jobs.items()}

    def ask(self, snapshot: Snapshot, state: PolicyState, now: float) -> None:
        """Ask anew behind each gateway where the newest answer is no answer to what is so now."""
        for routes in snapshot.fleet.routes:
            name = routes.gateway
            job = self._jobs.setdefault(name, SlowJob(f"placement {name}", self._answer, max_age_s=math.inf))
            asked = question(snapshot, state, routes)
            self._why[name] = "" if isinstance(asked, Known) else _why(asked)
            if not isinstance(asked, Known) or not self._is_new(name, asked.value, job.newest(now), now):
                continue
            if job.ask(asked.value, now):
                self._asked[name] = (asked.value, now)

    def close(self) -> None:
        """End the worker processes."""
        for job in self._jobs.values():
            job.close()
        self._jobs.clear()

    def _newest(self, name: str, job: SlowJob[PlacementQuestion, Placement], now: float) -> Signal[Placement]:
        found = job.newest(now)
        return Missing(self._why[name]) if isinstance(found, Missing) and self._why.get(name) else found

    def _is_new(self, name: str, asked: PlacementQuestion, plan: Signal[Placement], now: float) -> bool:
        last = self._asked.get(name)
        if last is None or now - last[1] > _AGAIN_S or _wishes(last[0]) != _wishes(asked):
            return True
        if self._jobs[name].problem:
            return True
        if not isinstance(plan, Known) or plan.observed_at < last[1]:
            return False  # it is being answered
        return _is_done(last[0], plan.value, asked) or not _on_the_way(last[0], plan.value, asked)


def _why(signal: Signal[PlacementQuestion]) -> str:
    return signal.why if isinstance(signal, Missing) else ""


def _wishes(asked: PlacementQuestion) -> PlacementQuestion:
    """The question without what the moves themselves change."""
    return replace(
        asked,
        servers=tuple(
            replace(
                server,
                present={},
                taken_bytes={},
                memory_bytes=None if server.memory_bytes is None else server.memory_bytes // _COARSE_BYTES,
            )
            for server in asked.servers
        ),
        models=tuple(replace(model, busy_share=None, instances=1) for model in asked.models),
    )


def _is_done(asked: PlacementQuestion, plan: Placement, now: PlacementQuestion) -> bool:
    """Whether all moves are done, so that what was in the way of others may be gone."""
    before = {server.name: set(server.present) for server in asked.servers}
    here = {server.name: set(server.present) for server in now.servers}
    return here != before and all(held == set(plan.target[name]) for name, held in here.items())


def _on_the_way(asked: PlacementQuestion, plan: Placement, now: PlacementQuestion) -> bool:
    """Whether what is there now is between what was there and what is to be: then the moves go on as planned."""
    before: Mapping[str, set[str]] = {server.name: set(server.present) for server in asked.servers}
    for server in now.servers:
        was, target, here = before[server.name], set(plan.target[server.name]), set(server.present)
        if not (was & target <= here <= was | target):
            return False
    return True
