"""Which models each server of a workload holds: placement under GPU memory, for workloads with model-aware routing.

`place` is a slow job: it imports its solver when it is called, which the loop does in a worker process only.
"""

from controlplane.decide.placing.place import place
from controlplane.decide.placing.values import Limits, ModelNeed, PlacementQuestion, ServerRoom
from controlplane.domain.placing import Goal, Move, Placement, Short, Unplaced

__all__ = [
    "Goal",
    "Limits",
    "ModelNeed",
    "Move",
    "Placement",
    "PlacementQuestion",
    "ServerRoom",
    "Short",
    "Unplaced",
    "place",
]
