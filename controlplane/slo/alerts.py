"""Whether a burn alert fires: two windows agree, enough events speak for it, and it could be measured at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controlplane.domain.alerts import AlertState, BurnAlert, BurnReading, Severity
from controlplane.domain.objectives import Counts, Objective
from controlplane.slo.burn import BurnFactor, certain_burn, factors, wilson_low
from controlplane.slo.phrases import figure, length


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """How alerts are held back and ended.

    `least_bad` events must be bad before one fires. An alert is frozen while less than `least_coverage` of a short
    window was measured. It ends after `end_after_s` seconds below `end_below` of its factors.
    """

    least_bad: int = 3
    least_coverage: float = 0.5
    end_below: float = 0.9
    end_after_s: float = 120.0


Ask = Callable[[float], Counts]
"""The counts of the last so many seconds."""


def judge_alerts(
    model: str,
    objective: Objective,
    ask: Ask,
    states: dict[Severity, AlertState],
    policy: AlertPolicy,
    now: float,
    grace_s: float = 0.0,
) -> tuple[tuple[BurnAlert, ...], dict[Severity, AlertState]]:
    """The alerts of one objective, one of each severity, and what to remember of them.

    A severity fires when one of its windows does: its burn rate is above the factor over the long and over the short
    window, at least `least_bad` events of the long one are bad, and the least share that they speak for (Wilson) is
    above the factor too: one failure in a quiet hour wakes nobody. Only events that are bad for certain count.
    `grace_s`: how late the objective's sources tell.
    """
    alerts, after = [], {}
    by_severity: dict[Severity, list[BurnFactor]] = {}
    for factor in factors(objective, grace_s=grace_s):
        by_severity.setdefault(factor.window.severity, []).append(factor)
    for severity, group in by_severity.items():
        readings = tuple(_read(objective, factor, ask, policy) for factor in group)
        alert, after[severity] = _judge(
            model, objective, severity, readings, states.get(severity, AlertState()), policy, now
        )
        alerts.append(alert)
    return tuple(alerts), after


def _read(objective: Objective, factor: BurnFactor, ask: Ask, policy: AlertPolicy) -> BurnReading:
    window = factor.window
    long, short = ask(window.long_s), ask(window.short_s)
    burn_long, burn_short = certain_burn(objective, long), certain_burn(objective, short)
    exceeded = min(burn_long or 0.0, burn_short or 0.0) > factor.factor
    held_back = ""
    if exceeded and long.bad < policy.least_bad:
        held_back = f"only {long.bad} bad events; {policy.least_bad} are needed"
    elif exceeded and wilson_low(long.bad, long.events) <= factor.factor * (1.0 - objective.target):
        held_back = f"{long.bad} bad of {long.events} events are too few to speak for so high a share"
    return BurnReading(window, factor.factor, factor.repaired, long, short, burn_long, burn_short, exceeded, held_back)


def _judge(
    model: str,
    objective: Objective,
    severity: Severity,
    readings: tuple[BurnReading, ...],
    state: AlertState,
    policy: AlertPolicy,
    now: float,
) -> tuple[BurnAlert, AlertState]:
    frozen = _frozen(readings, policy)
    if frozen:
        # low burn rates of before do not stand for what nobody saw since
        frozen_since = now if state.frozen_since is None else state.frozen_since
        state = AlertState(state.firing_since, frozen_since=frozen_since)
    elif any(reading.exceeded and not reading.held_back for reading in readings):
        state = AlertState(firing_since=now if state.firing_since is None else state.firing_since)
    elif state.firing_since is not None and _low(readings, policy.end_below):
        clear_since = now if state.clear_since is None else state.clear_since
        over = now - clear_since >= policy.end_after_s
        state = AlertState() if over else AlertState(state.firing_since, clear_since)
    else:
        state = AlertState(state.firing_since)
    alert = BurnAlert(
        model=model,
        objective=objective.key,
        severity=severity,
        firing=state.firing_since is not None,
        since=state.firing_since,
        frozen=frozen,
        readings=readings,
        capacity_share=_capacity_share(readings),
        frozen_since=state.frozen_since,
    )
    return alert, state


def _frozen(readings: Sequence[BurnReading], policy: AlertPolicy) -> str:
    """Why the alert cannot be judged: the newest time was not measured. Missing data neither fires nor ends one."""
    shortest = min(readings, key=lambda reading: reading.window.short_s).short
    if shortest.expected_s <= 0.0:
        return "nothing of the newest window counts: it was not measured, or people excluded it"
    if shortest.coverage >= policy.least_coverage:
        return ""
    return f"only {shortest.coverage:.0%} of the newest window was measured; {policy.least_coverage:.0%} is needed"


def _low(readings: Sequence[BurnReading], share: float) -> bool:
    """Whether no pair of windows is near its factor any more."""
    return all(min(r.burn_long or 0.0, r.burn_short or 0.0) < share * r.factor for r in readings)


def _capacity_share(readings: Sequence[BurnReading]) -> float | None:
    told = [reading for reading in readings if reading.exceeded] or list(readings)
    longest = max(told, key=lambda reading: reading.window.long_s).long
    return longest.bad_capacity / longest.bad if longest.bad else None


def told(alert: BurnAlert) -> str:
    """An alert in one line: how fast which budget burns over which windows, and how much of it capacity explains."""
    exceeding = [reading for reading in alert.readings if reading.exceeded] or list(alert.readings)
    worst = max(exceeding, key=lambda reading: min(reading.burn_long or 0.0, reading.burn_short or 0.0))
    burns = " and ".join(
        f"{_number(burn)} over {length(length_s)}"
        for burn, length_s in (
            (worst.burn_long, worst.window.long_s),
            (worst.burn_short, worst.window.short_s),
        )
    )
    line = f"{alert.model} {alert.objective}: burn rate {burns}, {alert.severity.value} above {_number(worst.factor)}"
    if alert.capacity_share is None:
        return line
    return f"{line}; capacity explains {alert.capacity_share:.0%} of {worst.long.bad} bad events"


def ended(alert: BurnAlert, fired_s: float) -> str:
    """The end of an alert in one line."""
    return f"{alert.model} {alert.objective}: {alert.severity.value} ended after {length(fired_s)}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else figure(value)
