"""Policies by the name that a person types. A further one is one more row of `POLICIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.domain.errors import NotFoundError, PermanentError
from controlplane.sim.ours.plane import Ours
from controlplane.sim.peers.dynamo import Dynamo
from controlplane.sim.peers.hpa import InFlightHpa, Keda, UseHpa
from controlplane.sim.peers.knative import Kpa
from controlplane.sim.peers.llm_d import SloAware
from controlplane.sim.peers.policy import Policy
from controlplane.sim.peers.ray_serve import RayServe
from controlplane.sim.peers.setting import LlmSetting, Setting
from controlplane.sim.peers.wva import WvaV2

_PRESET_USE = 0.6


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy: what it is, what its one knob says, how to make it.

    Every knob is cheaper where it is higher. `at_capacity`: the knob at which a replica would be used up to its
    capacity by the model; a sweep goes from `lowest` to `highest` times that, in steps of equal ratio. `needs_tokens`:
    it scales replicas with a KV cache only; on others `make` and `at_capacity` raise PermanentError.
    """

    title: str
    knob: str
    make: Callable[[float, Setting], Policy]
    at_capacity: Callable[[Setting], float]
    lowest: float = 0.1
    highest: float = 1.3
    needs_tokens: bool = False

    preset_use: float = _PRESET_USE

    def preset(self, setting: Setting) -> float:
        """The knob where none is given: at 0.6 of the capacity by the model; ours, as it comes."""
        return self.preset_use * self.at_capacity(setting)


def _with_tokens(setting: Setting) -> LlmSetting:
    if not isinstance(setting, LlmSetting):
        raise PermanentError("WVA V2 counts tokens of a KV cache; these replicas have none")
    return setting


POLICIES: dict[str, Entry] = {
    "ours": Entry(
        "controlplane", "burn rate planned for", Ours, lambda _: 1.0, lowest=0.02, highest=50.0, preset_use=1.0
    ),
    "hpa": Entry("HPA on in-flight", "requests by pod", lambda knob, _: InFlightHpa(knob), lambda at: at.in_flight),
    "hpa-use": Entry(
        "HPA on KV or busy share",
        "share of the KV cache, or of time busy",
        lambda knob, _: UseHpa(knob),
        lambda at: at.used_share,
    ),
    "keda": Entry(
        "KEDA on request rate",
        "requests per second by replica",
        lambda knob, _: Keda(knob),
        lambda at: at.requests_per_s,
    ),
    "kpa": Entry("Knative KPA", "concurrency by pod", lambda knob, _: Kpa(knob), lambda at: at.in_flight / 0.7),
    "ray": Entry("Ray Serve", "ongoing requests by replica", lambda knob, _: RayServe(knob), lambda at: at.in_flight),
    "wva": Entry(
        "WVA V2",
        "used share that scales up",
        lambda knob, at: WvaV2(knob, _with_tokens(at).model.service),
        lambda at: _with_tokens(at).saturation,
        lowest=0.05,
        needs_tokens=True,
    ),
    "llm-d": Entry(
        "llm-d SLO-aware",
        "share of the objective that scales up",
        lambda knob, at: SloAware(knob, at.strain),
        lambda _: 1.0,
    ),
    "dynamo": Entry(
        "Dynamo (knows the true fit)",
        "share of the objective given as SLA",
        lambda knob, at: Dynamo(at.engine(knob)),
        lambda _: 1.0,
    ),
}


def entry(name: str) -> Entry:
    """A policy by name. Raises NotFoundError naming those that there are."""
    if name not in POLICIES:
        raise NotFoundError("policy", name, tuple(POLICIES))
    return POLICIES[name]
