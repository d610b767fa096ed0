"""What no policy has to be worse than: fleets and plans that know the whole load beforehand.

The clairvoyant plans hold ceil(demand / used) replicas: the fluid demand (see demand.py) averaged over 30 s around; the
share `used` is the knob. A heuristic, not the optimum: a policy may come near to it or even under it, and ratios to it
are lower limits of what is left to gain.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.demand import averaged
from controlplane.sim.peers.policy import History
from controlplane.sim.runner import READ_S, Outcome
from controlplane.sim.service import StartUp
from controlplane.sim.world import World


class Static:
    """So many replicas all the time."""

    interval_s = READ_S

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def decide(self, history: History) -> int:  # noqa: ARG002 (it looks at nothing)
        """Replicas wanted now."""
        return self._replicas


class Plan:
    """A supply that is known beforehand, asked for `lead_s` before it is needed and kept where it is needed again."""

    interval_s = READ_S

    def __init__(self, replicas: NDArray[np.int64], lead_s: float) -> None:
        self._replicas = replicas
        self._ahead = math.ceil(lead_s / READ_S) + 1

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        return self.at(history.now.at_s)

    def at(self, now_s: float) -> int:
        """The most that is needed from now until what is asked for now would be there."""
        first = min(int(now_s / READ_S), len(self._replicas) - 1)
        return int(self._replicas[first : first + self._ahead].max())


def static(replicas: int, world: World) -> Outcome:
    """A fleet of constant size."""
    return world.run(Static(replicas), initial=replicas)


def clairvoyant(used: float, world: World, lead_s: float) -> Outcome:
    """The plan, carried out by replicas that take exactly `lead_s` to start and are asked for in time.

    It takes over after HELD_S, as every policy does.
    """
    needed = averaged(world.serving.demand(world.requests)) / used
    plan = Plan(np.maximum(1, np.ceil(needed)).astype(np.int64), lead_s)
    return world.run(plan, startup=StartUp(lead_s, sd_share=0.0))
