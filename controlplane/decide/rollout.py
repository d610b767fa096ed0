"""Rollout of another version of a model: server by server, beside the old one, and back where it does not prove itself.

    holding -> waiting -> beside -> verifying -> retiring -> done
    back from where it has begun: rolling_back -> rolled_back
    what it decided on is not there any more: lapsed

One server at a time goes through it, in the model's order; one on which the model is not loaded is passed over until it
is. Those whose turn has not come are told to serve just what they serve: else a restart, or another count of instances,
would bring them what came to the repository. Where one fails, all that have it already go back. A phase says which
versions should serve, so a server that lost them in a restart gets them again. It ends without a step: what serves then
serves on, until the server restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from controlplane.decide.people import newest
from controlplane.decide.proving import fault, served, was_seen
from controlplane.decide.unit import Turn, Unit
from controlplane.domain.decision import ActionStatus, Outcome, Reason, ReasonCode, Step
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.rollout import BOTH, FAILED, OVER, UNBEGUN, Rollout, RolloutPhase, Served
from controlplane.domain.signal import known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import UnitState, unit_key

# After these the step may be done or not: it is issued again.
_AGAIN = (FailureClass.UNREACHABLE, FailureClass.SUPERSEDED)
# A load that fails so would fail with any version.
_OF_THE_MODEL = (
    FailureClass.MODEL_NOT_FOUND,
    FailureClass.CONTROL_NOT_ALLOWED,
    FailureClass.INVALID_CONFIGURATION,
)
_NOTHING = Served(0, 0.0, 0.0, None)
_ANSWERED = (RolloutPhase.ROLLING_BACK, RolloutPhase.LAPSED)


def turn_of(snapshot: Snapshot, units: Mapping[str, UnitState], model: ModelSpec, server: str) -> Turn | None:
    """Where it is the server's turn in a rollout that is in force for it; None: in none."""
    told = newest(
        o
        for o in snapshot.overrides
        if o.kind is OverrideKind.ROLLOUT and o.model == model.name and o.server in ("", server)
    )
    if told is None:
        return None
    front = failed = ""
    begun: list[Rollout] = []
    for name in (told.server,) if told.server else model.runs_on:
        state = units.get(unit_key(model.name, name))
        memory = state.rollout if state is not None else None
        here = memory if memory is not None and memory.id == told.id else None
        if here is not None and here.holds and here.phase not in UNBEGUN:
            begun.append(here)
        if here is not None and here.why:
            failed = failed or f"{name}: {here.why}"
        elif not front and (here is None or here.phase not in OVER) and not _is_away(snapshot, model.name, name):
            front = name
    proved = bool(begun) and not failed and all(memory.phase is RolloutPhase.DONE for memory in begun)
    older = [memory.before for memory in begun if told.version not in memory.before]
    until = next(iter(older), begun[0].before if begun else ())
    return Turn(told, front == server, failed, until, proved)


def _is_away(snapshot: Snapshot, model: str, server: str) -> bool:
    """Whether the model is known not to be loaded there."""
    seen = snapshot.reading.servers.get(server)
    reading = known(seen.models[model]) if seen is not None and model in seen.models else None
    return reading is not None and reading.state not in (ModelState.READY, ModelState.LOADING)


def advanced(unit: Unit, state: UnitState, now: float) -> UnitState:
    """The state with the rollout as far as what was done and seen takes it."""
    memory = _after_steps(state.rollout, unit.results)
    turn = unit.turn
    if memory is not None and (turn is None or turn.told.id != memory.id):
        if memory.phase in (*UNBEGUN, *OVER):
            memory = None
        elif memory.phase is not RolloutPhase.ROLLING_BACK:
            memory = _back(memory, "the rollout was withdrawn or ran out", now)
    elif memory is not None and turn is not None:
        memory = _on(unit, turn, memory, now)
    if memory is None and turn is not None:
        memory = _held(unit, turn, now)
    if memory is not None and memory.phase in UNBEGUN and turn is not None and turn.may_begin and not turn.failed:
        memory = _begun(unit, turn.told, memory, now)
    before = state.rollout.phase if state.rollout is not None else None
    if memory is not None and memory.phase in _ANSWERED and before is not memory.phase:
        state = replace(state, failures=0, retry_at=0.0)  # a failed step is answered by another one, at once
    return state if memory is state.rollout else replace(state, rollout=memory)


def wanted(unit: Unit, memory: Rollout | None) -> tuple[str, ...]:
    """The versions for which a step is needed; empty: for none."""
    if memory is None or unit.reading is None or not unit.reading.versions:
        return ()
    held = memory.phase in (*OVER, RolloutPhase.WAITING, RolloutPhase.VERIFYING)
    return () if held and unit.reading.versions == memory.versions else memory.versions


def reason(unit: Unit, memory: Rollout | None) -> Reason | None:
    """Where the rollout stands, in words; None: there is none."""
    turn = unit.turn
    if memory is not None and (memory.phase not in UNBEGUN or turn is None):
        words = {"version": memory.version, "what": in_words(memory)}
        intervals = unit.reading.intervals if unit.reading is not None else ()
        if memory.phase is RolloutPhase.VERIFYING and not was_seen(memory, intervals, unit.probes):
            words["what"] += ": no request or probe of that version was answered yet"
    elif turn is not None:
        words = {"version": turn.told.version, "what": f"not begun: {_why_not_begun(turn, memory)}"}
    else:
        return None
    return Reason(ReasonCode.ROLLOUT, {}, words)


def changes(turn: Turn | None, memory: Rollout | None) -> bool:
    """Whether other versions come now, or once it is the server's turn; none does where it failed on another before."""
    if memory is None or memory.phase in OVER:
        return False
    return memory.phase not in UNBEGUN or turn is None or not turn.failed


def _why_not_begun(turn: Turn, held: Rollout | None) -> str:
    older = "" if held is None else f"version {', '.join(held.before)}"
    if turn.may_begin and not turn.failed:
        return f"it begins from {older}, which it does not serve yet" if older else "what it serves is not known"
    why = f"it failed on {turn.failed}" if turn.failed else "its turn has not come"
    return f"{why}; until then it serves {older}" if older else why


def lapsed(memory: Rollout, now: float) -> Rollout:
    """The rollout of versions that are not there any more: the repository's own policy holds."""
    return replace(memory, phase=RolloutPhase.LAPSED, since=now) if memory.holds else memory


def left(memory: Rollout | None, now: float) -> Rollout | None:
    """What is remembered of a server that the configuration does not name any more.

    In the middle of it nothing was decided yet: that is no failure of the version, and is begun anew if it comes back.
    """
    undecided = (*UNBEGUN, *BOTH, RolloutPhase.RETIRING)
    return None if memory is None or memory.phase in undecided else lapsed(memory, now)


def in_words(memory: Rollout) -> str:
    """Its phase, and why it failed."""
    phase = memory.phase.value.replace("_", " ")
    return f"{phase}: {memory.why}" if memory.why else phase


def _held(unit: Unit, turn: Turn, now: float) -> Rollout | None:
    """What a server whose turn has not come is to serve: what it serves, and what others did where that is the new one.

    One on which the model is not loaded is to load that. Where it is proved on all that have begun both get the new
    one, and go back with the others where it fails later. None: nothing is known.
    """
    present, reading, told = unit.present, unit.reading, turn.told
    if reading is None or present is None or (present.loaded and not reading.versions):
        return None
    here = reading.versions if present.loaded else ()
    if turn.proved and (not here or told.version in here):
        return Rollout(told.id, told.version, turn.until, RolloutPhase.DONE, now, _NOTHING)
    before = here if here and told.version not in here else turn.until or here
    phase = RolloutPhase.HOLDING if present.loaded else RolloutPhase.WAITING
    return Rollout(told.id, told.version, before, phase, now, _NOTHING) if before else None


def _begun(unit: Unit, told: Override, held: Rollout, now: float) -> Rollout:
    """The rollout begun where what was held serves; else that is loaded, or set, first."""
    present, reading = unit.present, unit.reading
    if reading is None or present is None or not present.loaded or reading.versions != held.before:
        return held
    before_it = served(reading.intervals, now - told.verify_s)
    phase = RolloutPhase.DONE if reading.versions == (told.version,) else RolloutPhase.BESIDE
    before = tuple(v for v in reading.versions if v != told.version) or reading.versions
    return Rollout(told.id, told.version, before, phase, now, before_it)


def _after_steps(memory: Rollout | None, results: Sequence[Outcome]) -> Rollout | None:
    for outcome in results:
        step, versions = outcome.action.step, outcome.action.target.versions
        if memory is None or step not in (Step.SET_VERSIONS, Step.LOAD) or not versions or versions != memory.versions:
            continue
        if outcome.status is ActionStatus.SUCCEEDED and step is Step.SET_VERSIONS:
            memory = _next(memory, outcome.finished_at)
        elif outcome.status is ActionStatus.FAILED and outcome.failure not in _AGAIN:
            memory = (_not_loaded if step is Step.LOAD else _not_set)(memory, outcome)
    return memory


def _not_set(memory: Rollout, outcome: Outcome) -> Rollout:
    """What serves goes on, so that a way back may be tried again; after the end of it nothing is left to try."""
    if memory.phase is RolloutPhase.BESIDE:
        return _back(memory, _said(outcome), outcome.finished_at)
    gone = memory.phase in (*UNBEGUN, *OVER) and outcome.failure is FailureClass.VERSION_NOT_AVAILABLE
    return lapsed(memory, outcome.finished_at) if gone else memory


def _not_loaded(memory: Rollout, outcome: Outcome) -> Rollout:
    """Nothing serves: by a new version that is not proved, or since those that it decided on are not there any more."""
    if outcome.failure in _OF_THE_MODEL:
        return memory
    if memory.phase in (*BOTH, RolloutPhase.RETIRING):
        return _back(memory, _said(outcome), outcome.finished_at)
    gone = outcome.failure is FailureClass.VERSION_NOT_AVAILABLE
    return lapsed(memory, outcome.finished_at) if gone else memory


def _said(outcome: Outcome) -> str:
    return f"{outcome.detail}; {outcome.remedy}"


_FOLLOWING = {
    RolloutPhase.HOLDING: RolloutPhase.WAITING,
    RolloutPhase.BESIDE: RolloutPhase.VERIFYING,
    RolloutPhase.RETIRING: RolloutPhase.DONE,
    RolloutPhase.ROLLING_BACK: RolloutPhase.ROLLED_BACK,
}


def _next(memory: Rollout, now: float) -> Rollout:
    phase = _FOLLOWING.get(memory.phase)
    return memory if phase is None else replace(memory, phase=phase, since=now)


def _back(memory: Rollout, why: str, now: float) -> Rollout:
    return replace(memory, phase=RolloutPhase.ROLLING_BACK, since=now, why=why)


def _on(unit: Unit, turn: Turn, memory: Rollout, now: float) -> Rollout:
    """One step on by what is seen."""
    if memory.phase in (*UNBEGUN, *FAILED) or not memory.holds:
        return memory
    if turn.failed:
        return _back(memory, f"it failed on {turn.failed}", now)
    if memory.phase is not RolloutPhase.VERIFYING or unit.reading is None:
        return memory
    return _watched(unit, unit.reading, turn.told.verify_s, memory, now)


def _watched(unit: Unit, reading: ModelReading, verify_s: float, memory: Rollout, now: float) -> Rollout:
    if reading.versions and reading.versions != memory.versions:  # a restart, or somebody else: watched anew
        return replace(memory, phase=RolloutPhase.BESIDE, since=now)
    if worse := fault(memory, reading.intervals, unit.probes):
        return _back(memory, worse, now)
    if now - memory.since < verify_s or not was_seen(memory, reading.intervals, unit.probes):
        return memory
    return replace(memory, phase=RolloutPhase.RETIRING, since=now)
