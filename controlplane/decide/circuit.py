"""A circuit breaker for each target: where nobody was found several times in a row, steps wait, then one tries.

Michael T. Nygard, Release It! (2007), chapter 5.2. The state is half-open once `until` has passed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from controlplane.decide.policy import Policy
from controlplane.domain.decision import ActionStatus, Outcome, Reason, ReasonCode
from controlplane.domain.failures import FailureClass
from controlplane.domain.state import Circuit

# More would overflow.
_DOUBLINGS = 20


def absorbed(
    circuits: Mapping[str, Circuit], results: Iterable[Outcome], targets: Collection[str], policy: Policy
) -> dict[str, Circuit]:
    """The circuits after these outcomes, of the targets that there are. Whoever refuses a step was found."""
    after = {name: circuit for name, circuit in circuits.items() if name in targets}
    for outcome in results:
        name, begun_at = outcome.action.server, outcome.action.issued_at
        if name not in targets or outcome.status not in (ActionStatus.SUCCEEDED, ActionStatus.FAILED):
            continue
        before = after.get(name, Circuit())
        if outcome.failure is not FailureClass.UNREACHABLE:
            after.pop(name, None)
        elif not before.is_open or begun_at >= before.until:  # else it was under way when the circuit opened
            after[name] = _missed(before, outcome.finished_at, policy)
    return after


def _missed(circuit: Circuit, at: float, policy: Policy) -> Circuit:
    failures = circuit.failures + 1
    if failures < policy.circuit_failures:
        return Circuit(failures)
    wait_s = min(policy.back_off_max_s, policy.circuit_pause_s * 2.0 ** min(circuit.opened, _DOUBLINGS))
    return Circuit(failures, circuit.opened + 1, at + wait_s)


def hindrance(circuit: Circuit | None, now: float, *, tried: bool) -> Reason | None:
    """Why a step to the target waits, or None. `tried`: another one is on its way there."""
    if circuit is None or not circuit.is_open:
        return None
    numbers = {"failures": float(circuit.failures), "left_s": max(0.0, circuit.until - now)}
    if now < circuit.until:
        return Reason(ReasonCode.CIRCUIT_OPEN, numbers)
    return Reason(ReasonCode.CIRCUIT_OPEN, numbers, {"why": "one step tries it first"}) if tried else None
