"""What is wrong now, found once a round however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controlplane.act.failures import classify
from controlplane.domain.conditions import Condition
from controlplane.domain.decision import ActionStatus, Outcome
from controlplane.domain.fleet import Fleet
from controlplane.domain.picture import Picture
from controlplane.publish.alerting.conditions import conditions


class Findings:
    """Remembers the newest failure of each unit, as long as no success followed, and what was found wrong last."""

    def __init__(self) -> None:
        self._failed: dict[str, Outcome] = {}
        self._found: tuple[Condition, ...] | None = None

    def resume(self, results: Iterable[Outcome]) -> None:
        """Take in what came of actions before a restart, on servers too that are to be discovered again."""
        self._take(results)

    def note(self, fleet: Fleet, results: Iterable[Outcome]) -> None:
        """Take in what came of actions, and forget what failed on servers that are gone."""
        self._take(results)
        if self._failed:
            here = {server.name for server in fleet.servers} | {spec.name for spec in fleet.workloads}
            self._failed = {key: outcome for key, outcome in self._failed.items() if outcome.action.server in here}

    def _take(self, results: Iterable[Outcome]) -> None:
        """In order. What was dropped or interrupted says nothing about a failure before it."""
        for outcome in results:
            key = outcome.action.knob
            if outcome.status is ActionStatus.FAILED:
                self._failed[key] = outcome
            elif outcome.status is ActionStatus.SUCCEEDED:
                self._failed.pop(key, None)

    def renew(self) -> None:
        """Something new was read or decided: look again when asked."""
        self._found = None

    def complete(self, picture: Picture) -> Picture:
        """The picture with its failures and conditions."""
        picture = replace(picture, failed=tuple(self._failed.values()))
        if self._found is None:
            self._found = conditions(picture, classify)
        return replace(picture, conditions=self._found)
