"""How GPUs are cut into MIG slices so that the models fit on the fewest of them.

`plan` is a slow job: it imports its solver when it is called, which the loop does in a worker process only.
"""

from controlplane.decide.mig.boards import WHOLE, Board, Profile, Slice
from controlplane.decide.mig.plan import plan
from controlplane.decide.mig.values import (
    Assignment,
    Gpu,
    Lack,
    MigGoal,
    MigLimits,
    MigModel,
    MigPlan,
    MigQuestion,
    MigStep,
    Place,
    Unserved,
)
from controlplane.domain.mig import Act

__all__ = [
    "WHOLE",
    "Act",
    "Assignment",
    "Board",
    "Gpu",
    "Lack",
    "MigGoal",
    "MigLimits",
    "MigModel",
    "MigPlan",
    "MigQuestion",
    "MigStep",
    "Place",
    "Profile",
    "Slice",
    "Unserved",
    "plan",
]
