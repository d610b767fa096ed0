"""What was remembered, taken up again: by a machine whose clock may be behind the one that wrote it."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.effects import believed_s
from controlplane.decide.placing.spread import LONGEST_HOLD_S
from controlplane.decide.policy import Policy
from controlplane.decide.tuning import longest_refusal_s
from controlplane.domain.state import Ceiling, Expectation, PolicyState, Spread, UnitState, WorkloadState


def resumed(state: PolicyState, policy: Policy, now: float) -> PolicyState:
    """The state without moments that are still to come, and no wait longer than one that begins now.

    Else whatever counts from such a moment (judging a raise, learning, idleness, healing) would stand still until then.
    """
    units = {key: _unit(unit, policy, now) for key, unit in state.units.items()}
    workloads = {name: _workload(one, policy, now) for name, one in state.workloads.items()}
    circuits = {
        name: replace(one, until=min(one.until, now + policy.back_off_max_s)) for name, one in state.circuits.items()
    }
    changes = tuple(at for at in state.changes if at <= now)
    spreads = {name: _spread(one, now) for name, one in state.spreads.items()}
    return PolicyState(units, workloads, circuits=circuits, changes=changes, spreads=spreads)


def _spread(state: Spread, now: float) -> Spread:
    """Time in which nobody looked is none in which fewer were enough."""
    return replace(
        state,
        needed=(),
        waits_since=0.0,
        left_at=min(state.left_at, now),
        held_until=min(state.held_until, now + LONGEST_HOLD_S),
    )


def _workload(state: WorkloadState, policy: Policy, now: float) -> WorkloadState:
    return replace(
        state,
        services={
            model: replace(one, learned_until={name: min(at, now) for name, at in one.learned_until.items()})
            for model, one in state.services.items()
        },
        history=tuple(point for point in state.history if point.at <= now),
        wanted=tuple((min(at, now), count) for at, count in state.wanted),
        used_at=None if state.used_at is None else min(state.used_at, now),
        blind_since=None if state.blind_since is None else min(state.blind_since, now),
        retry_at=min(state.retry_at, now + policy.back_off_max_s),
        starting={name: min(at, now) for name, at in state.starting.items()},
        gone_since=None if state.gone_since is None else min(state.gone_since, now),
        ahead=tuple((at, per_s) for at, per_s in state.ahead if at <= now),
        act_at=min(state.act_at, now + policy.back_off_max_s),
        set_at=min(state.set_at, now),
        leaving={name: min(at, now) for name, at in state.leaving.items()},
    )


def _unit(unit: UnitState, policy: Policy, now: float) -> UnitState:
    return replace(
        unit,
        used_at=None if unit.used_at is None else min(unit.used_at, now),
        recommended=tuple((min(at, now), count) for at, count in unit.recommended),
        learned_until=min(unit.learned_until, now),
        expectation=_expectation(unit.expectation, now),
        ceiling=_ceiling(unit.ceiling, policy, now),
        full=_ceiling(unit.full, policy, now),
        retry_at=min(unit.retry_at, now + policy.back_off_max_s),
        blind_since=None if unit.blind_since is None else min(unit.blind_since, now),
        changed_at=min(unit.changed_at, now),
        healed_at=min(unit.healed_at, now),
        jump_seen_at=min(unit.jump_seen_at, now),
        batching=unit.batching
        and replace(unit.batching, since=min(unit.batching.since, now), told_since=min(unit.batching.told_since, now)),
        tuning=unit.tuning and replace(unit.tuning, trial=_expectation(unit.tuning.trial, now)),
        rollout=unit.rollout and replace(unit.rollout, since=min(unit.rollout.since, now)),
        refused=tuple(replace(one, until=min(one.until, now + longest_refusal_s(policy))) for one in unit.refused),
        gone_since=None if unit.gone_since is None else min(unit.gone_since, now),
        leaving_since=None,  # nobody told the gateway meanwhile
    )


def _ceiling(ceiling: Ceiling | None, policy: Policy, now: float) -> Ceiling | None:
    return ceiling and replace(ceiling, until=min(ceiling.until, now + believed_s(ceiling.times, policy)))


def _expectation(pending: Expectation | None, now: float) -> Expectation | None:
    return pending and replace(pending, done_at=min(pending.done_at, now), issued_at=min(pending.issued_at, now))
