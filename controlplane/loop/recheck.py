"""Still so? Asked right before a step is carried out: the world may have moved since the decision."""

from __future__ import annotations

from controlplane.domain.decision import Decision, Step
from controlplane.domain.observation import FleetReading
from controlplane.loop.present import present


def objection(decision: Decision, reading: FleetReading) -> str:
    """Why the decision is no longer right, or "" when it still is.

    A step whose goal is reached already and one that rests on a state that has changed are dropped quietly.
    """
    now = present(reading, decision.model, decision.server)
    target, gone = decision.target, decision.server not in reading.servers
    if gone or target is None:
        return "the server has left" if gone else "the decision names no target"
    if decision.step is Step.RELOAD:
        return "" if now is None or now.loaded else "the model is no longer loaded"
    if now is None:
        return f"what is on {decision.server} is no longer known"
    if now == target or (decision.step is Step.UNLOAD and not now.loaded):
        return "it is so already"
    if decision.current is not None and now != decision.current:
        return (
            f"{_words(decision.current.loaded, decision.current.instances)} became {_words(now.loaded, now.instances)}"
        )
    return ""


def _words(loaded: bool, instances: int) -> str:
    return f"{instances} instance{'' if instances == 1 else 's'}" if loaded else "unloaded"
