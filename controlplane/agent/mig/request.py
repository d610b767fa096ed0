"""What `POST /mig` and `POST /mig/copies` take, read and checked."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from controlplane.config.block import Block
from controlplane.config.faults import from_pydantic
from controlplane.config.mig.profile_name import ProfileName
from controlplane.config.units import Name, Whole
from controlplane.decide.mig import Slice
from controlplane.domain.errors import ConfigurationError, Fault

Wanted = TypeVar("Wanted", bound=Block)


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


class CopyAct(StrEnum):
    """What can be asked of a copy."""

    START = "start"
    DRAIN = "drain"


class CopyWanted(Block):
    """A copy of a model on one slice, to be started or drained."""

    gpu: str = Field(min_length=1, description="The GPU's UUID.")
    profile: ProfileName = Field(description="Profile of the slice; `whole`: the GPU with MIG off.")
    start: Annotated[Whole, Field(ge=0)] = Field(default=0, description="Its first memory unit.")
    model: Name = Field(description="The model.")
    act: CopyAct = Field(description="start or drain.")


def copy_wanted(body: bytes) -> CopyWanted:
    """The request in a body of JSON. Raises ConfigurationError with every fault."""
    return _read(CopyWanted, body, "gpu, profile, start, model and act")


def layout_wanted(body: bytes) -> LayoutWanted:
    """The request in a body of JSON. Raises ConfigurationError with every fault."""
    return _read(LayoutWanted, body, "gpu, layout and dry_run")


def _read(form: type[Wanted], body: bytes, keys: str) -> Wanted:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        if any(found["type"] == "json_invalid" for found in error.errors(include_url=False)):
            fault = Fault("body", "what was sent", f"one JSON object with {keys}")
            raise ConfigurationError("body", (fault,)) from None
        raise ConfigurationError("body", tuple(from_pydantic(form, error, ""))) from None
