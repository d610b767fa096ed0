"""What our decisions cost on real load beside every peer and the best constant fleet, each swept over its one knob."""

from __future__ import annotations

from collections.abc import Callable

from bench.figure import Figure
from controlplane.sim.front import TARGETS, Front, sweep
from controlplane.sim.peers.perf_model import Slo
from controlplane.sim.service import LLM_SERVICES, StartUp
from controlplane.sim.serving import LLM_SERVICE, LlmServing
from controlplane.sim.trace import load
from controlplane.sim.world import make_world

_RIVALS = ("dynamo", "llm-d", "keda", "hpa", "static")
_BOUND = "lb1"
_TIE = 1.05
"""Costs that differ by less are ties: another seed moves as much."""


def run(*, quick: bool, seed: int, say: Callable[[str], None]) -> list[Figure]:
    """The front on chat requests, at one start-up time or at both."""
    return [_figure(startup_s, seed, say) for startup_s in ((90.0,) if quick else (90.0, 240.0))]


def _figure(startup_s: float, seed: int, say: Callable[[str], None]) -> Figure:
    serving = LlmServing(LLM_SERVICES[LLM_SERVICE], Slo())
    world = make_world(load("conv"), serving, startup=StartUp(startup_s), peak_replicas=20, seed=seed)
    fronts = sweep(
        [world],
        ("ours", *_RIVALS, _BOUND),
        2,
        lambda done, most: say(f"  {done} of {most} runs") if done % 20 == 0 else None,
    )
    figures: dict[str, float] = {}
    told, met = [], True
    for target in TARGETS:
        costs = {name: _cost(front, target) for name, front in fronts.items()}
        rivals = {name: cost for name in _RIVALS if (cost := costs[name]) is not None}
        best, ours, bound = min(rivals, key=lambda name: rivals[name]), costs["ours"], costs[_BOUND]
        if ours is None or bound is None:
            met = False
            told.append(f"{target:.0%}: not attained")
            continue
        closed = (rivals[best] - ours) / (rivals[best] - bound)
        figures |= {f"ours_{target:g}": ours, f"best_{target:g}": rivals[best], f"bound_{target:g}": bound}
        met = met and ours <= _TIE * rivals[best]
        beside = f"best other {rivals[best]:.1f} ({best})"
        told.append(f"{target:.0%}: {ours:.1f} GPU-hours, {beside}, {closed:.0%} of the gap to {bound:.1f} closed")
    return Figure(
        f"scale replicas on chat load, start-up {startup_s:g} s",
        told[-1],
        "no more than the best peer or constant fleet (5 % is a tie)",
        met,
        figures,
        notes=(*told[:-1], "bound: a plan that knows the load and starts in time"),
    )


def _cost(front: Front, target: float) -> float | None:
    point = front.cheapest(target)
    return None if point is None else point.gpu_hours
