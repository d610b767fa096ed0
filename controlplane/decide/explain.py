"""Decisions in words, for people: what was seen, what was decided, what bound, what was done, what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from controlplane.domain.decision import (
    ActionStatus,
    Decision,
    DecisionRecord,
    Outcome,
    Reason,
    ReasonCode,
    Step,
    Target,
    Verdict,
)
from controlplane.domain.sizes import memory_text

_TEXT: Mapping[ReasonCode, str] = {
    ReasonCode.DEMAND: "demand of {demand_per_s}/s to be held (seen: {low_per_s} to {high_per_s}/s)",
    ReasonCode.CAPACITY: "{instances} instances hold {capacity_per_s}/s "
    "(a batch of n takes {fixed_ms} + {per_item_ms} n ms)",
    ReasonCode.BACKLOG: "{backlog_requests} requests wait, to be served within {drain_s} s",
    ReasonCode.LATENCY_OVER_OBJECTIVE: "mean latency {mean_ms} ms is over the objective of {objective_ms} ms",
    ReasonCode.CAPACITY_UNKNOWN: "capacity beyond what was seen is unknown, and the instances are not busy",
    ReasonCode.SATURATED: "more instances give no more throughput here: the device is saturated",
    ReasonCode.REPLICA_DEMAND: "{arrivals_per_s}/s arrive, the work of {demand_replicas} replicas "
    "(one holds {capacity_per_s}/s; {binds} binds)",
    ReasonCode.DEMAND_AHEAD: "up to {replicas} replicas' work in {lead_s} s, with a probability of {quantile} "
    "(in as long it moved by {spread_replicas} lately)",
    ReasonCode.SEASON: "by what is usual at this time ({season_h} h apart) up to {per_s}/s are to come",
    ReasonCode.EVENT: "{event} was announced: {per_s}/s are to come",
    ReasonCode.SCHEDULE: "at least {min} by the schedule {schedule} (begins in {starts_in_s} s, ends in {left_s} s)",
    ReasonCode.ONE_FEWER: "{fewer} would hold {holds_per_s}/s, {missed_per_s}/s less than may come",
    ReasonCode.UNFULFILLED: "{replicas} replicas that were asked for are not there; the next try is in {left_s} s",
    ReasonCode.CONSOLIDATION: "{instances} instances were enough for {dwell_s} s",
    ReasonCode.DWELL: "fewer would do, but not for {dwell_s} s yet",
    ReasonCode.STEP_LIMIT: "{needed} needed, at most {limit} in one step",
    ReasonCode.BOUNDS: "bounds",
    ReasonCode.INSTANCE_STEP: "rounded from {wanted}: the instance groups change by {per_step}",
    ReasonCode.OVERRIDE: "{actor} said {kind}: {why} (still {left_s} s)",
    ReasonCode.ROLLOUT: "rollout of version {version}: {what}",
    ReasonCode.FROZEN: "scaling is frozen ({direction}) by {actor}: {why} (still {left_s} s)",
    ReasonCode.MODE: "the model is in mode {mode}",
    ReasonCode.IDLE: "idle",
    ReasonCode.WANTED: "{actor} asked for it",
    ReasonCode.RECONCILE: "not as it should be: {why}",
    ReasonCode.DATA_MISSING: "data missing: {why}",
    ReasonCode.DATA_PARTIAL: "one more reading is awaited: {why}",
    ReasonCode.SAFE_FLOOR: "blind for too long: raised to {instances}, the most needed of late",
    ReasonCode.IN_FLIGHT: "waiting for an action under way",
    ReasonCode.BACK_OFF: "after {failures} failures the next try is in {left_s} s",
    ReasonCode.CIRCUIT_OPEN: "nobody was found there {failures} times in a row: left alone for another {left_s} s",
    ReasonCode.CHANGE_RATE: "{changes} changes within a minute are as many as may be: it waits",
    ReasonCode.BLAST_RADIUS: "{losing} servers lose capacity now, at most {most} may at a time: it waits",
    ReasonCode.DEAD_BACKEND: "{failures} requests failed as with a dead process (share {share}) [backend; full reload]",
    ReasonCode.UNDO: "the raise lowered throughput: back to {instances}",
    ReasonCode.CONTROL_NOT_ALLOWED: "the server does not allow model control: {remedy}",
    ReasonCode.NOT_CONTROLLABLE: "not controllable: {why}",
    ReasonCode.PUBLISH_ONLY: "told and not carried out by us: it is published only",
    ReasonCode.OWNED: "told and not carried out by us: {owner} scales it; delete that, or have it published only",
    ReasonCode.SERVER_DOWN: "the server does not answer: {why}",
    ReasonCode.SERVER_PHASE: "the server is {phase}: nothing is done on it",
    ReasonCode.QUOTA: "{wanted} replicas wanted, {granted} granted: the quota is {quota_gpus} GPUs of {of} ({shares}), "
    "{short_gpus} more are needed",
    ReasonCode.BY_COST: "{model} needs {demand_per_s}/s, at the least cost by {mix} "
    "(a request per second costs {price_per_capacity} an hour here)",
    ReasonCode.STORE_AWAY: "not carried out while the store is away: {why}",
    ReasonCode.BATCHING: "{change}: {why}; what it gives is not known before it was tried "
    "(from {executions} executions, none of a batch)",
    ReasonCode.BATCHING_WAITS: "not carried out now: {why}",
    ReasonCode.PLACED: "its place is on {servers}",
    ReasonCode.SPREAD: "wanted on {copies} servers (bounds {min} to {max}): what one copy can take is not known yet",
    ReasonCode.HANDOVER: "one goes once those that stay have their instances ({each}), each for {per_s}/s",
    ReasonCode.ROUTED: "unloaded once the gateway {gateway} has dropped this server: {why}",
    ReasonCode.NO_ROOM: "not loaded: it takes {takes_mib}, and {free_mib} are left on the server",
    ReasonCode.ROOM_DOUBTED: "what it takes was only measured: in spite of that a try with {instances} instances",
    ReasonCode.DRAINING: "{replicas} replicas that are to go take no new requests: {left} have not ended what they "
    "have, for {waited_s} s of at most {timeout_s} s",
    ReasonCode.DRAINED: "{replicas} replicas that are to go have ended what they had",
    ReasonCode.PUT_BACK: "{replicas} replicas that were to go take requests again",
    ReasonCode.IN_PLACE: "all is as it should be",
}

# Reasons whose words depend on the numbers that are there.
_VARIANTS: Mapping[tuple[ReasonCode, str], str] = {
    (ReasonCode.DEMAND, "why"): "demand of {demand_per_s}/s to be held (seen: at least {low_per_s}/s; {why})",
    (ReasonCode.CAPACITY, "profile_percent"): "{instances} instances hold {capacity_per_s}/s "
    "(a batch of n takes {fixed_ms} + {per_item_ms} n ms; {profile_percent} % of that is from its profile)",
    (ReasonCode.BACKLOG, "why"): "{why}: demand is higher than what is seen",
    (ReasonCode.IDLE, "idle_s"): "idle for {idle_s} s (limit {idle_unload_s} s)",
    (ReasonCode.IDLE, "why"): "unloaded: {why}",
    (ReasonCode.CONSOLIDATION, "replicas"): "{replicas} replicas hold what may come in {lead_s} s, and did for "
    "{dwell_s} s",
    (ReasonCode.OVERRIDE, "max"): "{actor} said bounds of {min} to {max}: {why} (still {left_s} s)",
    (ReasonCode.BOUNDS, "wanted"): "{wanted} wanted, bounds are {min} to {max}",
    (ReasonCode.BOUNDS, "why"): "at least {min}: {why}",
    (ReasonCode.SATURATED, "by"): "the device is saturated, as {by} shows",
    (ReasonCode.IN_FLIGHT, "step"): "{step} is under way ({id})",
    (ReasonCode.IN_FLIGHT, "why"): "{why}",
    (ReasonCode.IN_FLIGHT, "since_s"): "{replicas} replicas were set {since_s} s ago and are on their way",
    (ReasonCode.BACK_OFF, "remedy"): "after {failures} failures the next try is in {left_s} s: {remedy}",
    (ReasonCode.CIRCUIT_OPEN, "why"): "nobody was found there {failures} times in a row: {why}",
    (ReasonCode.BLAST_RADIUS, "wanted"): "{wanted} wanted, but at most {most} servers may lose capacity at a time "
    "({losing} do now)",
    (ReasonCode.UNFULFILLED, "why"): "{replicas} replicas that were asked for are not there; the scheduler says: {why}",
    (ReasonCode.BATCHING, "latency_after_ms"): "{change}: {why}; expected: {capacity_before_per_s} -> "
    "{capacity_after_per_s}/s, {latency_before_ms} -> {latency_after_ms} ms a request (from {executions} executions)",
    (ReasonCode.BATCHING, "capacity_after_per_s"): "{change}: {why}; expected: {capacity_before_per_s} -> "
    "{capacity_after_per_s}/s, of which the present load takes all (from {executions} executions)",
    (ReasonCode.BATCHING_WAITS, "left_s"): "not carried out now: {why} (still {left_s} s)",
    (ReasonCode.DRAINED, "cut"): "{cut} of {replicas} replicas that are to go are not known to have ended what they "
    "had, after {timeout_s} s",
    (ReasonCode.UNDO, "case"): "the change of the batching ({case}) did harm: back to what was there",
    (ReasonCode.BY_COST, "why"): "{model} needs {demand_per_s}/s, at the least cost by {mix}; {why}",
    (ReasonCode.SPREAD, "staying"): "{staying} servers were enough for long: each is to hold {per_s}/s before one goes",
    (ReasonCode.SPREAD, "why"): "wanted on {copies} servers (bounds {min} to {max}); {why}",
    (
        ReasonCode.SPREAD,
        "demand_per_s",
    ): "wanted on {copies} servers (bounds {min} to {max}): to hold {demand_per_s}/s, "
    "of which one can hold {capacity_per_s}/s",
    (ReasonCode.NO_ROOM, "step"): "no {step}: it takes {takes_mib} more, and {free_mib} are left on the server",
    (ReasonCode.NO_ROOM, "wanted"): "{wanted} instances would take {takes_mib} more, and {free_mib} are left on the "
    "server",
    (ReasonCode.ROOM_DOUBTED, "left_s"): "what it takes was only measured: one step is tried in {left_s} s",
    (ReasonCode.ROOM_DOUBTED, "server"): "what it takes was only measured: one step is tried once nothing else changes "
    "on {server}",
    (
        ReasonCode.HANDOVER,
        "holders",
    ): "goes once those that stay have the instances for which there is room ({each}), not "
    "all for its part ({per_s}/s): {holders} has the rest, and waits for this one",
    (
        ReasonCode.HANDOVER,
        "holders_of_components",
    ): "goes once its components have the instances there for which there is "
    "room, not all for their part: {holders_of_components} has the rest, and waits for this one",
    (ReasonCode.HANDOVER, "why"): "stays until those that stay are ready for its part: {why}",
    (ReasonCode.PLACED, "unknown"): "stays as it is until its place is known: {unknown}",
    (ReasonCode.PLACED, "ensembles"): "it is on servers with {ensembles}, with which it is loaded",
    (ReasonCode.PLACED, "copies_short"): "its place is on {servers}; {copies_short} more wanted, but: {short}",
    (ReasonCode.PLACED, "moves_before"): "its place is on {servers}, after {moves_before} moves before",
    (ReasonCode.PLACED, "room_for"): "its place is on {servers}; here it makes room for {room_for}",
    (ReasonCode.CAPACITY_UNKNOWN, "busy_share"): "larger batches were never seen, and the instances are only "
    "{busy_share} busy",
}


_ADVICE = (ReasonCode.BATCHING, ReasonCode.BATCHING_WAITS)


def reason_text(reason: Reason) -> str:
    """One reason as a few words."""
    values = {**{k: _figure(k, v) for k, v in reason.numbers.items()}, **reason.words}
    template = next(
        (text for (code, key), text in _VARIANTS.items() if code is reason.code and key in values),
        _TEXT[reason.code],
    )
    try:
        return _one(template.format_map(values))
    except KeyError:
        # A reason given only as what binds carries no numbers of its own.
        return reason.code.value.replace("_", " ")


def headline(decision: Decision) -> str:
    """The decision in one line: the step, and what settled it."""
    binding = [r for r in decision.reasons if r.code is decision.binding]
    best = max(binding, key=lambda r: len(r.numbers) + len(r.words), default=Reason(decision.binding))
    return f"{_step(decision)}: {reason_text(best)}"


def explain(record: DecisionRecord) -> tuple[str, ...]:
    """The record in a few lines."""
    decision = record.decision
    told = [r for r in decision.reasons if r.numbers or r.words]
    seen = [r for r in told if r.code not in _ADVICE]
    lines = [
        f"{decision.model} on {decision.server}, {_at(decision.at)}, mode {decision.mode.value} ({decision.id})",
        f"seen:    {_target(decision.current)}" + "".join(f"; {reason_text(r)}" for r in seen[:2]),
        f"decided: {_step(decision)}",
        f"bound:   {headline(decision).partition(': ')[2]}",
    ]
    chain = [reason_text(r) for r in seen[2:]]
    if chain:
        lines.insert(3, f"because: {'; then '.join(chain)}")
    if record.repeats:
        times = "once more" if record.repeats == 1 else f"{record.repeats} more times"
        lines.append(f"again:   decided alike {times} until {_at(record.last_at)}")
    lines.extend(f"done:    {_outcome(outcome)}" for outcome in record.outcomes)
    if not record.outcomes and decision.step is not Step.HOLD:
        lines.append(f"done:    {_not_done(decision)}")
    if record.effect is not None:
        text = _VERDICTS[record.effect.verdict]
        if decision.step is Step.CONFIGURE:
            text = _OF_BATCHING.get(record.effect.verdict, text)
        lines.append(f"effect:  {text.format_map(_rates(record))}")
    lines.extend(f"advice:  {reason_text(r)}" for r in told if r.code in _ADVICE and r.code is not decision.binding)
    return tuple(lines)


def _not_done(decision: Decision) -> str:
    if decision.told_only:
        return "told, not carried out by us"
    return "nothing yet" if decision.actionable else f"nothing: mode {decision.mode.value}"


_VERDICTS: Mapping[Verdict, str] = {
    Verdict.HELPED: "helped: throughput {before}/s before, {after}/s after",
    Verdict.NO_GAIN: "no gain under backlog: {before}/s before, {after}/s after; the device is saturated",
    Verdict.HARMED: "harm: throughput fell from {before}/s to {after}/s under backlog; undone",
    Verdict.NOT_JUDGED: "not judged: demand fell to {after}/s by itself (before {before}/s)",
}


_OF_BATCHING: Mapping[Verdict, str] = {
    Verdict.NO_GAIN: "no gain under backlog: {before}/s before, {after}/s after; kept",
    Verdict.HARMED: "harm: throughput {before}/s before, {after}/s after, or requests took too long; undone",
    Verdict.NOT_JUDGED: "not judged: another load or count ({before}/s before, {after}/s after); kept",
}


def _rates(record: DecisionRecord) -> dict[str, str]:
    effect = record.effect
    return {} if effect is None else {"before": _number(effect.before_per_s), "after": _number(effect.after_per_s)}


_WITHOUT_COUNT: Mapping[Step, str] = {
    Step.UNLOAD: "unload",
    Step.RELOAD: "full reload",
    Step.CONFIGURE: "other batching, by a full reload",
}


def _step(decision: Decision) -> str:
    current, target = decision.current, decision.target
    match decision.step:
        case Step.SET_INSTANCES:
            return _one(f"{_count(current)} -> {_count(target)} instances")
        case Step.LOAD:
            return _one(f"load with {_count(target)} instances")
        case Step.UNLOAD | Step.RELOAD | Step.CONFIGURE:
            return _WITHOUT_COUNT[decision.step]
        case Step.SET_VERSIONS:
            return f"versions {_versions(current)} -> {_versions(target)}"
        case Step.SCALE | Step.TRAFFIC:
            where = " in traffic" if decision.step is Step.TRAFFIC else ""
            return f"{_count(current)} -> {_count(target)} replicas{where}"
        case Step.HOLD:
            return "hold" if target is None else f"hold at {_target(target)}"


def _target(target: Target | None) -> str:
    if target is None:
        return "unknown"
    return _one(f"{target.instances} instances") if target.loaded else "unloaded"


def _versions(target: Target | None) -> str:
    return "?" if target is None or not target.versions else ", ".join(target.versions)


def _count(target: Target | None) -> str:
    return "?" if target is None else str(target.instances)


def _outcome(outcome: Outcome) -> str:
    took_s = outcome.finished_at - outcome.action.issued_at
    text = f"{outcome.action.step.value} {outcome.status.value} after {took_s:.1f} s"
    if outcome.status is ActionStatus.SUCCEEDED and outcome.in_place is not None:
        text += ", in place" if outcome.in_place else ", by a full reload"
    if outcome.detail:
        text += f": {outcome.detail}"
    if outcome.failure is not None:
        text += f" [{outcome.failure.value}; {outcome.remedy}]"
    return text


def _at(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_SINGLE = (
    ("instances were", "instance was"),
    ("instances hold", "instance holds"),
    ("instances", "instance"),
    ("servers were", "server was"),
    ("servers", "server"),
)


def _one(text: str) -> str:
    """The text with a single instance or server in the singular."""
    for plural, singular in _SINGLE:
        text = re.sub(rf"\b(?<![.\d])1 {plural}\b", f"1 {singular}", text)
    return text


def _figure(key: str, value: float) -> str:
    return memory_text(value * 2**20) if key.endswith("_mib") else _number(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
