"""Names of MIG profiles as people write them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from controlplane.config.faults import did_you_mean
from controlplane.config.mig.boards import boards


def _profile(name: str) -> str:
    if all(board.profile(name) is None for board in boards().values()):
        known = sorted({p.name for board in boards().values() for p in board.profiles})
        raise ValueError(f"{did_you_mean(name, known)}a profile that some board has, such as 1g.10gb, or whole")
    return name


Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Gib = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
ProfileName = Annotated[str, AfterValidator(_profile)]
