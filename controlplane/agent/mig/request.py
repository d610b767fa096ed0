"""What `POST /mig` takes, read and checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from controlplane.config.block import Block
from controlplane.config.faults import from_pydantic
from controlplane.config.mig.profile_name import ProfileName
from controlplane.config.units import Whole
from controlplane.decide.mig import Slice
from controlplane.domain.errors import ConfigurationError, Fault


class SliceWanted(Block):
    """A slice that the GPU is to have."""

    profile: ProfileName = Field(description="Its profile; `whole`: the GPU with MIG off.")
    start: Annotated[Whole, Field(ge=0)] = Field(default=0, description="Its first memory unit.")


class LayoutWanted(Block):
    """A layout for one GPU."""

    gpu: str = Field(min_length=1, description="The GPU's UUID.")
    layout: tuple[SliceWanted, ...] = Field(description="All slices that it is to have; none: MIG stays as it is.")
    dry_run: bool = Field(default=True, description="Only tell the steps.")

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The layout."""
        return tuple(Slice(piece.profile, piece.start) for piece in self.layout)


def layout_wanted(body: bytes) -> LayoutWanted:
    """The request in a body of JSON. Raises ConfigurationError with every fault."""
    try:
        return LayoutWanted.model_validate_json(body)
    except ValidationError as error:
        if any(found["type"] == "json_invalid" for found in error.errors(include_url=False)):
            fault = Fault("body", "what was sent", "one JSON object with gpu, layout and dry_run")
            raise ConfigurationError("body", (fault,)) from None
        raise ConfigurationError("body", tuple(from_pydantic(LayoutWanted, error, ""))) from None
