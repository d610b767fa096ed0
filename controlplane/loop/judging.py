"""What the kept slices say of the whole fleet at a tick: judgements, burn alerts, and which of these began or ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controlplane.domain.alerts import AlertState, AlertStates, BurnAlert, Severity, alert_key, of_alert_key
from controlplane.domain.fleet import Fleet
from controlplane.domain.history import Adjustment, AlertEvent, ObjectiveVersion
from controlplane.domain.objectives import Counts, Judgement, Objective
from controlplane.domain.ports import Store
from controlplane.slo.account import PACES_S
from controlplane.slo.adjust import CountsOf, adjusted, excluded_s, in_force
from controlplane.slo.alerts import AlertPolicy, ended, judge_alerts, told
from controlplane.slo.budget import judge
from controlplane.slo.window import window_of

_MINUTE_S = 60.0
_HOUR_S = 3600.0
# Slices are in the store by then, but for those of a store that was away.
_SETTLED_S = 300.0

FleetCounts = Mapping[tuple[str, str], Counts]


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found at a tick. `states` are to be remembered, `events` tell which alerts began or ended to fire."""

    judgements: Mapping[str, tuple[Judgement, ...]] = field(default_factory=dict)
    alerts: Mapping[str, tuple[BurnAlert, ...]] = field(default_factory=dict)
    states: AlertStates = field(default_factory=dict)
    events: tuple[AlertEvent, ...] = ()

    def unjudged(self, states: AlertStates, why: str, now: float) -> Judged:
        """The same while the store cannot be asked: alerts stay what they were, and nothing began or ended."""
        frozen = f"the store cannot be asked: {why}"
        alerts = {
            model: tuple(replace(a, frozen=frozen, frozen_since=a.frozen_since or now) for a in found)
            for model, found in self.alerts.items()
        }
        return replace(self, alerts=alerts, states=states, events=())


class Windows:
    """The counts of windows of all objectives, by few statements for the whole fleet.

    What is older than some minutes is read once a minute, for all windows; what came since, at each tick. So windows of
    an hour and longer begin with a whole minute: they are up to a minute longer than they say, and never miss the
    newest events. Shorter ones are the last so long that is known: a window that is not longer than it takes for slices
    to be closed would else always be empty.
    """

    def __init__(self) -> None:
        self._settled: dict[tuple[float, float], FleetCounts] = {}
        self._settled_until = 0.0

    def since(self, now: float, window_s: float, known_until: float) -> float:
        """Where the window of the last `window_s` seconds begins; slices are there up to `known_until`."""
        return (known_until if window_s < _HOUR_S else math.floor(now / _MINUTE_S) * _MINUTE_S) - window_s

    def at(self, store: Store, now: float) -> Callable[[str, str], CountsOf]:
        """Gives the counts of an objective of a model, as the store holds them at `now`."""
        settled_until = math.floor(now / _MINUTE_S) * _MINUTE_S - _SETTLED_S
        if settled_until != self._settled_until:
            self._settled, self._settled_until = {}, settled_until
        recent: dict[tuple[float, float], FleetCounts] = {}

        def parts(since: float, until: float) -> Iterator[FleetCounts]:
            middle = min(max(since, settled_until), until)
            for span, known in (((since, middle), self._settled), ((middle, until), recent)):
                if span[0] < span[1]:
                    if span not in known:
                        known[span] = store.all_counts(*span)
                    yield known[span]

        def of(model: str, objective: str) -> CountsOf:
            key = (model, objective)

            def counts_of(since: float, until: float) -> Counts:
                first, *more = [part[key] for part in parts(since, until) if key in part] or [Counts()]
                return sum(more, first)

            return counts_of

        return of


def judge_fleet(
    fleet: Fleet,
    store: Store,
    windows: Windows,
    states: AlertStates,
    policy: AlertPolicy,
    now: float,
    known_until: Mapping[str, float] | None = None,
    grace_s: Mapping[str, float] | None = None,
) -> Judged:
    """Every objective of every model with its alerts, as people's corrections have it.

    `known_until`: up to when slices are in the store, by model, where nothing but their grace keeps newer ones back.
    Else windows end now: what has been unmeasured for longer freezes alerts. `grace_s`: how late they come, by model.
    """
    counts, made = windows.at(store, now), store.adjustments()
    judgements: dict[str, tuple[Judgement, ...]] = {}
    alerts: dict[str, tuple[BurnAlert, ...]] = {}
    after: dict[str, AlertState] = {}
    for model in fleet.models:
        found: list[Judgement] = []
        burning: list[BurnAlert] = []
        for objective in model.objectives:
            held = in_force(made, model.name, objective.key) if made else ()
            ask = _Ask(counts(model.name, objective.key), held, windows, now, (known_until or {}).get(model.name, now))
            found.append(ask.judgement(model.name, objective))
            keys = {severity: alert_key(model.name, objective.key, severity) for severity in Severity}
            before = {severity: states[key] for severity, key in keys.items() if key in states}
            told_alerts, told_states = judge_alerts(
                model.name, objective, ask.last, before, policy, now, (grace_s or {}).get(model.name, 0.0)
            )
            burning += told_alerts
            after |= {keys[severity]: state for severity, state in told_states.items() if state != AlertState()}
        judgements[model.name], alerts[model.name] = tuple(found), tuple(burning)
    return Judged(judgements, alerts, after, tuple(_events(alerts, states, now)))


@dataclass(frozen=True, slots=True)
class _Ask:
    """The counts of one objective, corrected."""

    counts_of: CountsOf
    adjustments: Sequence[Adjustment]
    windows: Windows
    now: float
    known_until: float
    known: dict[float, Counts] = field(default_factory=dict)

    def last(self, window_s: float) -> Counts:
        """Of the last so many seconds."""
        if window_s not in self.known:
            since = self.windows.since(self.now, window_s, self.known_until)
            self.known[window_s] = adjusted(self.counts_of, since, self.now, self.adjustments)
        return self.known[window_s]

    def judgement(self, model: str, objective: Objective) -> Judgement:
        now = self.now
        rolling = objective.calendar is None
        since = self.windows.since(now, objective.window_s, now) if rolling else window_of(objective, now).since
        recent, hour, hours = (self.last(pace_s) for pace_s in PACES_S)
        return judge(
            model,
            objective,
            adjusted(self.counts_of, since, now, self.adjustments),
            burn_5m=recent,
            burn_1h=hour,
            burn_6h=hours,
            now=now,
            excluded_s=excluded_s(self.adjustments, since, now),
        )


def _events(alerts: Mapping[str, tuple[BurnAlert, ...]], before: AlertStates, now: float) -> Iterator[AlertEvent]:
    """Alerts that began or ended to fire, and those that fired of objectives that there are no more."""
    watched: set[str] = set()
    for of_model in alerts.values():
        for alert in of_model:
            key = alert_key(alert.model, alert.objective, alert.severity)
            watched.add(key)
            since = before[key].firing_since if key in before else None
            if alert.firing and since is None:
                yield AlertEvent(now, alert.model, alert.objective, alert.severity, firing=True, summary=told(alert))
            elif since is not None and not alert.firing:
                text = ended(alert, now - since)
                yield AlertEvent(now, alert.model, alert.objective, alert.severity, firing=False, summary=text)
    for key, state in before.items():
        if key not in watched and state.firing_since is not None:
            model, objective, severity = of_alert_key(key)
            text = f"{model} {objective}: no longer watched, it left the configuration"
            yield AlertEvent(now, model, objective, severity, firing=False, summary=text)


def versions_of(fleet: Fleet, but: Container[tuple[str, str]], now: float) -> tuple[ObjectiveVersion, ...]:
    """What the objectives are from `now` on, but for those known by model and version."""
    return tuple(
        ObjectiveVersion(model.name, objective.version, objective, now)
        for model in fleet.models
        for objective in model.objectives
        if (model.name, objective.version) not in but
    )
