"""What makes a decision impossible now: nothing is done, and the reason is said."""

from __future__ import annotations

from controlplane.decide.unit import Unit
from controlplane.domain.control import lacking
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import CONTROLLED, Mode, Phase, ServerKind
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import ModelState, SleepState
from controlplane.domain.signal import Known, Missing, Stale, known

_OLLAMA = "Ollama loads a model on request and unloads it by itself; only what people ask for is carried out"
_REPLICAS = "the replicas of its workload are decided: fewer of them, none put to sleep"
_BY_HAND = "without idle_unload a vLLM is put to sleep and woken only when people ask for it"
_BASE_ASLEEP = "its base model is asleep"
_DISCARDED = "its weights were discarded (sleep level 2): whoever did that has to load them again and wake it"


def blocked(unit: Unit) -> Reason | None:
    """Why nothing can be decided about the unit, or None."""
    if unit.spec.mode is Mode.OBSERVE:
        return Reason(ReasonCode.MODE, {}, {"mode": unit.spec.mode.value})
    if unit.server.kind not in CONTROLLED:
        return Reason(ReasonCode.NOT_CONTROLLABLE, {}, {"why": f"a {unit.server.kind.value} server has no instances"})
    if why := _left_alone(unit):
        return Reason(ReasonCode.NOT_CONTROLLABLE, {}, {"why": why})
    if unit.in_flight is not None:
        return Reason(ReasonCode.IN_FLIGHT, {}, {"step": unit.in_flight.step.value, "id": unit.in_flight.id})
    return _server(unit) or _model(unit)


def _left_alone(unit: Unit) -> str:
    """Why a model that could be controlled is not, at least not while no person asks for it; empty: it is."""
    by_itself = unit.override is None or unit.override.kind is OverrideKind.BOUNDS
    if unit.server.kind is ServerKind.OLLAMA and by_itself:
        return _OLLAMA
    if unit.server.kind is not ServerKind.VLLM or unit.spec.lora is not None:
        return ""
    if unit.scaled:
        return _REPLICAS
    return _BY_HAND if by_itself and unit.spec.idle_unload_s is None else ""


def _server(unit: Unit) -> Reason | None:
    if unit.phase in (Phase.STARTING, Phase.DRAINING, Phase.TERMINATING):
        return Reason(ReasonCode.SERVER_PHASE, {}, {"phase": unit.phase.value})
    if unit.seen is None:
        return Reason(ReasonCode.DATA_MISSING, {}, {"why": "the server was never read"})
    if not isinstance(unit.seen.live, Known) or not unit.seen.live.value:
        return Reason(ReasonCode.SERVER_DOWN, {}, {"why": _why(unit)})
    remedy = lacking(unit.server.kind, known(unit.seen.control), adapter=unit.spec.lora is not None)
    if remedy:
        return Reason(ReasonCode.CONTROL_NOT_ALLOWED, {}, {"remedy": remedy})
    return None


def _model(unit: Unit) -> Reason | None:
    if unit.reading is None:
        return Reason(ReasonCode.DATA_MISSING, {}, {"why": _model_why(unit)})
    if unit.reading.state is ModelState.ABSENT:
        return Reason(ReasonCode.NOT_CONTROLLABLE, {}, {"why": "the server's model repository does not have it"})
    if why := _asleep(unit):
        return Reason(ReasonCode.NOT_CONTROLLABLE, {}, {"why": why})
    if unit.present is None:
        why = unit.reading.reason or unit.reading.state.value
        if isinstance(unit.reading.instances, Missing) and unit.reading.state is ModelState.READY:
            why = f"its instance count is missing: {unit.reading.instances.why}"
        return Reason(ReasonCode.DATA_MISSING, {}, {"why": why})
    return None


def _asleep(unit: Unit) -> str:
    """Why the state of sleep rules out a step; empty: it does not."""
    state = known(unit.reading.sleep) if unit.reading is not None else None
    if unit.spec.lora is not None:
        return _BASE_ASLEEP if state not in {None, SleepState.AWAKE} else ""
    return _DISCARDED if state is SleepState.DISCARDED else ""


def _why(unit: Unit) -> str:
    live = unit.seen.live if unit.seen is not None else Missing("never read")
    match live:
        case Missing(why=why):
            return why
        case Stale(age_s=age_s):
            return f"last answer {age_s:.0f} s ago"
        case Known():
            seen = unit.seen.models.get(unit.spec.name) if unit.seen is not None else None
            return (seen.why if isinstance(seen, Missing | Stale) else "") or "not live"


def _model_why(unit: Unit) -> str:
    signal = unit.seen.models.get(unit.spec.name, Missing("never read")) if unit.seen else Missing("never read")
    match signal:
        case Missing(why=why):
            return why
        case Stale(age_s=age_s):
            return f"last reading {age_s:.0f} s ago"
        case Known():
            return "unknown"
