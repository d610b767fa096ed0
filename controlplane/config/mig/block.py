"""The block `mig` as it is written, and the settings of it."""

from __future__ import annotations

from pydantic import Field

from controlplane.config.block import Block
from controlplane.config.mig.profile_name import Amount, ProfileName
from controlplane.config.units import Duration, Name
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.fleet import Mode


class MigModelItem(Block):
    """A model whose copies are to have MIG slices, or whole GPUs, each a process of its own."""

    name: Name = Field(description="Name of an entry in `models`.")
    memory_gib: Amount = Field(description="GPU memory that a copy needs: weights, KV cache, what the process takes.")
    profiles: dict[ProfileName, Amount] = Field(
        default={},
        description="Requests per second that a copy serves, by the profile of its slice, such as {1g.10gb: 12, whole:"
        " 90}; 0: not on such a one. They count on boards where nothing was learned; other profiles of a board are"
        " scaled from what is known.",
        json_schema_extra={"format": "names and numbers"},
    )
    share: bool = Field(default=False, description="Its copies may be on a slice with those of other such models.")


class MigBlock(Block):
    """How GPUs should be cut into MIG slices."""

    mode: Mode = Field(
        default=Mode.RECOMMEND,
        description="observe: show layouts. recommend: plan and show, change nothing. `act` is refused: plans are"
        " carried out by `controlplane mig apply`.",
    )
    every: Duration = Field(default=600.0, description="Time between two plans.")
    dwell: Duration = Field(
        default=3600.0,
        description="How long layouts are likely to last: a new one has to pay for its disturbance within this, and"
        " the demand to be held is the highest of so long. At least `every`.",
    )
    agents: list[str] | None = Field(
        default=None, min_length=1, description="Names of the agents whose GPUs may be cut; default: all GPUs seen."
    )
    models: list[MigModelItem] = Field(min_length=1, description="The models that are to have slices.")


def to_mig(block: MigBlock) -> MigSettings:
    """The settings."""
    return MigSettings(
        block.mode,
        block.every,
        block.dwell,
        tuple(MigWish(item.name, item.memory_gib, item.profiles, item.share) for item in block.models),
        None if block.agents is None else frozenset(block.agents),
    )
