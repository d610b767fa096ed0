"""Decisions and what became of them: actions, outcomes, effects, learned start-up times."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, literal_column, select, update

from controlplane.domain.alerts import AlertStates
from controlplane.domain.decision import Action, ActionStatus, Decision, DecisionRecord, Effect, Outcome, Step
from controlplane.domain.errors import NotFoundError
from controlplane.domain.fleet import workload_of
from controlplane.domain.layouts import MigMemory
from controlplane.domain.records import TickRecord, Unclosed
from controlplane.domain.startups import Startup
from controlplane.domain.state import PolicyState
from controlplane.store.codec import ACTION, ALERT_STATES, DECISION, EFFECT, MIG_MEMORY, OUTCOME, POLICY_STATE, UNCLOSED
from controlplane.store.engine import insert
from controlplane.store.startups import add_startups
from controlplane.store.tables import (
    IDLE_STEPS,
    actions,
    decisions,
    effects,
    mig_memory,
    newest_decisions,
    outcomes,
    policy_state,
)

_STARTING = (Step.LOAD, Step.RELOAD, Step.SET_INSTANCES)
_SHOWN_CANDIDATES = 5
# More than there are ticks in an hour.
_FOLLOWING = 1000
_NEVER = ("", "", float("-inf"))


def likeness(decision: Decision) -> str:
    """Equal for decisions that say the same: step, what is and should be, binding and reason codes."""
    current = decision.current and (decision.current.loaded, decision.current.instances)
    target = decision.target and (decision.target.loaded, decision.target.instances)
    codes = [reason.code for reason in decision.reasons]
    return json.dumps([decision.step, current, target, decision.binding, codes])


def add_decisions(connection: Connection, new: Sequence[Decision]) -> dict[str, str]:
    """Keep them; one that is not to be carried out and like the newest of its unit only prolongs that one.

    Gives the ids of those by the ids under which they went. Writing the same ones again changes nothing.
    """
    if not new:
        return {}
    query = select(newest_decisions)
    newest = {
        (row.model, row.server): (row.decision_id, row.likeness, row.last_at) for row in connection.execute(query)
    }
    rows: list[dict[str, object]] = []
    repeated: list[dict[str, object]] = []
    moved: dict[tuple[str, str], dict[str, object]] = {}
    kept_as: dict[str, str] = {}
    written = _written(connection, [d.id for d in new if d.at < newest.get((d.model, d.server), _NEVER)[2]])
    for decision in new:
        unit, like = (decision.model, decision.server), likeness(decision)
        last_id, last_like, last_at = newest.get(unit, _NEVER)
        if decision.at == last_at or decision.id in written:
            continue
        if like == last_like and not decision.actionable and decision.at > last_at:
            newest_id = kept_as[decision.id] = last_id
            repeated.append({"of": last_id, "until": decision.at})
        else:
            newest_id = decision.id
            rows.append(_decision_row(decision))
        newest[unit] = (newest_id, like, decision.at)
        moved[unit] = {
            "model": decision.model,
            "server": decision.server,
            "decision_id": newest_id,
            "likeness": like,
            "last_at": decision.at,
        }
    if rows:
        connection.execute(insert(connection, decisions).on_conflict_do_nothing(), rows)
    if repeated:
        prolong = update(decisions).where(decisions.c.id == bindparam("of"))
        connection.execute(prolong.values(last_at=bindparam("until"), repeats=decisions.c.repeats + 1), repeated)
    if moved:
        statement = insert(connection, newest_decisions)
        values = {name: statement.excluded[name] for name in ("decision_id", "likeness", "last_at")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["model", "server"], set_=values), list(moved.values())
        )
    return kept_as


def _written(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Which decisions dated before the newest of their unit are there; others come from a clock that was set back."""
    if not ids:
        return frozenset()
    return frozenset(connection.execute(select(decisions.c.id).where(decisions.c.id.in_(ids))).scalars())


def delete_idle(connection: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` decisions that changed nothing and not since `before`, oldest first; gives how many.

    Those that held what was there, and replicas that were told and that nobody here carried out. The newest of a unit
    stays: the next one is compared with it.
    """
    kept = select(newest_decisions.c.decision_id)
    idle: ColumnElement[bool] = literal_column(IDLE_STEPS)  # as in the index
    done = exists().where(actions.c.id == decisions.c.id)
    old = select(decisions.c.seq).where(idle, decisions.c.last_at < before, decisions.c.id.not_in(kept), ~done)
    oldest = old.order_by(decisions.c.last_at).limit(limit)
    return connection.execute(delete(decisions).where(decisions.c.seq.in_(oldest))).rowcount


def add_effects(connection: Connection, new: Sequence[Effect]) -> None:
    """Keep the effects of decisions; a later one of the same decision replaces the earlier."""
    if new:
        statement = insert(connection, effects)
        statement = statement.on_conflict_do_update(
            index_elements=["decision_id"], set_={"body": statement.excluded.body}
        )
        connection.execute(statement, [{"decision_id": e.decision_id, "body": EFFECT.dump(e)} for e in new])


def put_state(connection: Connection, record: TickRecord) -> None:
    """Keep the state of a tick, and what it had read that is in no closed slice yet."""
    row = {
        "at": record.at,
        "body": POLICY_STATE.dump(replace(record.state, forecasts={})),
        "unclosed": UNCLOSED.dump(record.unclosed),
        "alerts": ALERT_STATES.dump(record.alerts),
    }
    statement = insert(connection, policy_state).values(id=1, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


def get_alerts(connection: Connection) -> AlertStates:
    """How alerts stood at the last tick; empty before the first one."""
    body = connection.execute(select(policy_state.c.alerts)).scalar()
    return {} if body is None else ALERT_STATES.load(body)


def get_unclosed(connection: Connection) -> Unclosed:
    """What the last tick had read that is in no closed slice yet; empty before the first tick."""
    body = connection.execute(select(policy_state.c.unclosed)).scalar()
    return Unclosed() if body is None else UNCLOSED.load(body)


def get_state(connection: Connection) -> PolicyState:
    """The decider's memory; empty at first."""
    body = connection.execute(select(policy_state.c.body)).scalar()
    return PolicyState() if body is None else POLICY_STATE.load(body)


def put_mig(connection: Connection, memory: MigMemory) -> None:
    """Keep it in place of what was kept of changes of MIG layouts."""
    row = {"body": MIG_MEMORY.dump(memory)}
    statement = insert(connection, mig_memory).values(id=1, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


def get_mig(connection: Connection) -> MigMemory:
    """What was kept of changes of MIG layouts; empty at first."""
    body = connection.execute(select(mig_memory.c.body)).scalar()
    return MigMemory() if body is None else MIG_MEMORY.load(body)


def records(connection: Connection, model: str, limit: int, *, changes_only: bool) -> list[DecisionRecord]:
    """Decisions with all that followed, newest first."""
    query = select(decisions).order_by(decisions.c.seq.desc()).limit(limit)
    if model:
        query = query.where(decisions.c.model == model)
    if changes_only:
        query = query.where(decisions.c.step != Step.HOLD.value)
    return _records(connection, connection.execute(query).all())


def records_after(connection: Connection, decision: Decision, until: float) -> list[DecisionRecord]:
    """The decisions of the same unit that followed one and were made by `until`, oldest first."""
    itself = select(decisions.c.seq).where(decisions.c.id == decision.id).scalar_subquery()
    unit = (decisions.c.model == decision.model, decisions.c.server == decision.server)
    query = select(decisions).where(*unit, decisions.c.seq > itself, decisions.c.at <= until)
    return _records(connection, connection.execute(query.order_by(decisions.c.seq).limit(_FOLLOWING)).all())


def record(connection: Connection, decision_id: str) -> DecisionRecord:
    """One, by its id or a prefix that only it has. Raises NotFoundError, which lists the candidates."""
    rows = connection.execute(select(decisions).where(decisions.c.id == decision_id)).all()
    if not rows and decision_id:
        alike = select(decisions).where(decisions.c.id.startswith(decision_id, autoescape=True))
        rows = connection.execute(alike.order_by(decisions.c.seq.desc()).limit(_SHOWN_CANDIDATES)).all()
    if len(rows) != 1:
        raise NotFoundError("decision", decision_id, tuple(row.id for row in rows))
    return _records(connection, rows)[0]


def start_action(connection: Connection, action: Action, epoch: int = 0) -> None:
    """Journal that an action is under way, begun by the leader of that epoch."""
    row = {"model": action.model, "issued_at": action.issued_at, "finished_at": None, "body": ACTION.dump(action)}
    row |= {"epoch": epoch}
    statement = insert(connection, actions).values(id=action.id, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


def finish_action(connection: Connection, outcome: Outcome) -> None:
    """Journal what came of an action and, from a success, how long it took to start. Again changes nothing."""
    action = outcome.action
    row = {"model": action.model, "issued_at": action.issued_at, "finished_at": outcome.finished_at}
    statement = insert(connection, actions).values(id=action.id, body=ACTION.dump(action), **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))
    new = connection.execute(
        insert(connection, outcomes)
        .values(
            action_id=action.id,
            status=outcome.status.value,
            finished_at=outcome.finished_at,
            body=OUTCOME.dump(outcome),
        )
        .on_conflict_do_nothing()
        .returning(outcomes.c.action_id)
    ).first()
    if new and outcome.status is ActionStatus.SUCCEEDED and _starts_something(connection, action):
        took_s, workload = outcome.took_s, workload_of(action.server)
        step, at = action.step.value, outcome.finished_at
        add_startups(connection, [Startup(action.model, action.server, step, at, took_s, took_s, workload)])


def _starts_something(connection: Connection, action: Action) -> bool:
    """Whether an action brings instances up. Taking some away takes no start-up time to learn from."""
    if action.step not in _STARTING:
        return False
    body = connection.execute(select(decisions.c.body).where(decisions.c.id == action.id)).scalar()
    current = None if body is None else DECISION.load(body).current
    return current is None or action.step is not Step.SET_INSTANCES or action.target.instances > current.instances


def interrupt_actions(connection: Connection, now: float) -> tuple[Action, ...]:
    """Finish every action under way as interrupted; gives them, oldest first."""
    query = select(actions.c.body).where(actions.c.finished_at.is_(None)).order_by(actions.c.issued_at)
    interrupted = tuple(ACTION.load(body) for body in connection.execute(query).scalars())
    for action in interrupted:
        finish_action(
            connection,
            Outcome(action, ActionStatus.INTERRUPTED, now, "the control plane stopped before the result was known"),
        )
    return interrupted


def outcomes_since(connection: Connection, since: float) -> list[Outcome]:
    """What came of the actions that ended since, in the order in which it was journaled."""
    query = select(outcomes.c.body).where(outcomes.c.finished_at >= since).order_by(outcomes.c.seq)
    return [OUTCOME.load(body) for body in connection.execute(query).scalars()]


def _decision_row(decision: Decision) -> dict[str, object]:
    return {
        "id": decision.id,
        "model": decision.model,
        "server": decision.server,
        "step": decision.step.value,
        "at": decision.at,
        "last_at": decision.at,
        "repeats": 0,
        "body": DECISION.dump(decision),
    }


def _records(connection: Connection, rows: Iterable[Row[tuple[object, ...]]]) -> list[DecisionRecord]:
    rows = list(rows)
    ids = [row.id for row in rows]
    followed: dict[str, list[Outcome]] = {}
    query = select(outcomes.c.action_id, outcomes.c.body).where(outcomes.c.action_id.in_(ids))
    for id_, body in connection.execute(query.order_by(outcomes.c.seq)):
        followed.setdefault(id_, []).append(OUTCOME.load(body))
    query = select(effects.c.decision_id, effects.c.body).where(effects.c.decision_id.in_(ids))
    judged = {id_: EFFECT.load(body) for id_, body in connection.execute(query)}
    return [
        DecisionRecord(
            DECISION.load(row.body), row.last_at, row.repeats, tuple(followed.get(row.id, ())), judged.get(row.id)
        )
        for row in rows
    ]
