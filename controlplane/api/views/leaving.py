"""Which servers a model is about to leave, for gateways that route by model."""

from __future__ import annotations

from controlplane.domain.decision import Decision
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Mode
from controlplane.domain.observation import ModelState
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Missing, known

_GONE = (ModelState.UNLOADED, ModelState.UNAVAILABLE, ModelState.ABSENT)


def leaving_view(picture: Picture) -> dict[str, list[str]]:
    """Servers by the model's name on them, as long as it is there. Raises TargetUnreachableError: not known yet."""
    for routes in picture.fleet.routes:
        placement = picture.placements.get(routes.gateway, Missing("no tick yet"))
        if isinstance(placement, Missing):
            raise TargetUnreachableError(f"placement behind {routes.gateway}", placement.why)
    found: dict[str, list[str]] = {}
    for decision in picture.decisions:
        spec = picture.fleet.model(decision.model)
        if spec is not None and _leaves(picture, decision):
            found.setdefault(spec.served_name, []).append(decision.server)
    return found


def _leaves(picture: Picture, decision: Decision) -> bool:
    """Whether it is to be unloaded there and that is carried out: what is only recommended changes no route."""
    target = decision.target
    if target is None or target.loaded or not (decision.mode is Mode.ACT or decision.by_person):
        return False
    if not any(routes.has(decision.server) for routes in picture.fleet.routes):
        return False
    seen = picture.reading.servers.get(decision.server)
    reading = known(seen.models[decision.model]) if seen is not None and decision.model in seen.models else None
    return reading is None or reading.state not in _GONE
