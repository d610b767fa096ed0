"""Policies by the name that a person types. A further one is one more row of `POLICIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.domain.errors import NotFoundError
from controlplane.sim.peers.dynamo import Dynamo
from controlplane.sim.peers.hpa import InFlightHpa, Keda, UseHpa
from controlplane.sim.peers.knative import Kpa
from controlplane.sim.peers.llm_d import SloAware, WvaV2
from controlplane.sim.peers.perf_model import PerfModel, Slo
from controlplane.sim.peers.policy import Policy
from controlplane.sim.peers.ray_serve import RayServe

_PRESET_USE = 0.6


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy runs in: the objective, and the model of a replica under the mean requests of the load."""

    slo: Slo
    model: PerfModel

    @property
    def running(self) -> float:
        """Requests that a replica holds at its capacity by the model."""
        return self.model.running(self.slo)

    @property
    def kv_share(self) -> float:
        """Share of the KV cache that they use."""
        held = self.model.prompt_tokens + self.model.output_tokens / 2
        return self.running * held / self.model.service.kv_tokens

    @property
    def saturation(self) -> float:
        """How full WVA takes a replica to be that is at its capacity by the model."""
        service, prompt, output = self.model.service, self.model.prompt_tokens, self.model.output_tokens
        together = min(service.max_batched_tokens * output / (prompt + output), service.max_num_seqs)
        return max(self.running / together, self.kv_share / 0.8)


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy: what it is, what its one knob says, how to make it.

    Every knob is cheaper where it is higher. `at_capacity`: the knob at which a replica would be used up to its
    capacity by the model; a sweep goes from `lowest` to `highest` times that, in steps of equal ratio.
    """

    title: str
    knob: str
    make: Callable[[float, Setting], Policy]
    at_capacity: Callable[[Setting], float]
    lowest: float = 0.1
    highest: float = 1.3

    def preset(self, setting: Setting) -> float:
        """The knob where none is given: at 0.6 of the capacity by the model."""
        return _PRESET_USE * self.at_capacity(setting)


POLICIES: dict[str, Entry] = {
    "hpa": Entry("HPA on in-flight", "requests by pod", lambda knob, _: InFlightHpa(knob), lambda at: at.running),
    "hpa-use": Entry("HPA on KV use", "share of the KV cache", lambda knob, _: UseHpa(knob), lambda at: at.kv_share),
    "keda": Entry(
        "KEDA on request rate",
        "requests per second by replica",
        lambda knob, _: Keda(knob),
        lambda at: at.model.requests_per_s(at.slo),
    ),
    "kpa": Entry("Knative KPA", "concurrency by pod", lambda knob, _: Kpa(knob), lambda at: at.running / 0.7),
    "ray": Entry("Ray Serve", "ongoing requests by replica", lambda knob, _: RayServe(knob), lambda at: at.running),
    "wva": Entry(
        "WVA V2",
        "used share that scales up",
        lambda knob, at: WvaV2(knob, at.model.service),
        lambda at: at.saturation,
        lowest=0.05,
    ),
    "llm-d": Entry(
        "llm-d SLO-aware",
        "share of the objective that scales up",
        lambda knob, at: SloAware(knob, at.slo),
        lambda _: 1.0,
    ),
    "dynamo": Entry(
        "Dynamo (knows the true fit)",
        "share of the objective given as SLA",
        lambda knob, at: Dynamo(knob, at.model.service, at.slo),
        lambda _: 1.0,
    ),
}


def entry(name: str) -> Entry:
    """A policy by name. Raises NotFoundError naming those that there are."""
    if name not in POLICIES:
        raise NotFoundError("policy", name, tuple(POLICIES))
    return POLICIES[name]
