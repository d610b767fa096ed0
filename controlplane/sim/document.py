"""A simulation as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from controlplane.sim.front import FIGURES, TARGETS, Front, Point, harm
from controlplane.sim.world import World


def document(trace: str, world: World, fronts: Mapping[str, Front], hurt: Mapping[str, Point]) -> dict[str, Any]:
    """Every point of every front. `hurt`: the chosen points of fronts under the faults of the world.

    Figures of a point are means over the draws, `elasticity` is of the first one.
    """
    return {
        "trace": trace,
        "requests": len(world.requests),
        "factor": world.factor,
        "peak_replicas": world.peak_replicas,
        "initial_replicas": world.initial,
        "startup_s": world.startup.mean_s,
        **asdict(world.serving.slo),
        "seed": world.seed,
        "seeds": max(len(point.outcomes) for front in fronts.values() for point in front.points),
        "faults": [str(fault) for fault in world.faults],
        "policies": {name: _front(front, hurt.get(name), world) for name, front in fronts.items()},
    }


def _front(front: Front, hurt: Point | None, world: World) -> dict[str, Any]:
    found: dict[str, Any] = {
        "points": [_point(point, world) for point in front.points],
        "cheapest": {
            f"{target:g}": None if (point := front.cheapest(target)) is None else _point(point, world)
            for target in TARGETS
        },
    }
    if hurt is not None:
        found["under_faults"] = _point(hurt, world) | asdict(harm(front.chosen(), hurt))
    return found


def _point(point: Point, world: World) -> dict[str, Any]:
    ranges = {figure: point.range(figure) for figure in FIGURES}
    return {
        "knob": point.knob,
        **{name: of.mean for name, of in ranges.items()},
        "attainment_range": [ranges["attainment"].least, ranges["attainment"].most],
        "gpu_hours_range": [ranges["gpu_hours"].least, ranges["gpu_hours"].most],
        "elasticity": asdict(world.elasticity(point.outcome.curve.ready)),
    }
