"""What people said, as JSON, and the bodies in which they say it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from controlplane.api.views.signals import View
from controlplane.config.units import parse_duration, parse_moment, parse_rate
from controlplane.domain.instructions import FreezeDirection, OverrideKind
from controlplane.loop.operations import OperationStatus

TTL_MAX_S = 366 * 86400.0


_TTL_MIN_S = 1.0


def _ttl(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        seconds = float(value) if number else parse_duration(value)  # type: ignore[arg-type]
    except ValueError:
        seconds = 0.0
    if not _TTL_MIN_S <= seconds <= TTL_MAX_S:
        raise ValueError("a duration from 1s to 366d is allowed, such as 2h, or a number of seconds")
    return seconds


Ttl = Annotated[
    float,
    BeforeValidator(_ttl),
    WithJsonSchema({"type": ["string", "number"], "format": "duration", "examples": ["2h", 7200]}),
]


def _moment(value: object) -> float:
    try:
        return parse_moment(value)
    except ValueError as error:
        raise ValueError(f"{error}, is allowed") from None


Moment = Annotated[
    float,
    BeforeValidator(_moment),
    WithJsonSchema({"type": ["string", "number"], "format": "date-time", "examples": ["2026-11-20T10:00:00Z"]}),
]


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("printable characters on one line are allowed")
    return text


Line = Annotated[str, AfterValidator(_printable)]
"""Text that is shown on terminals and written to logs."""


class Reasoned(BaseModel):
    """What everything that people say carries."""

    model_config = ConfigDict(extra="forbid")

    reason: Line = Field(min_length=1, max_length=500, examples=["launch at noon"])
    actor: Line | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Who says it; only where no tokens are in use, else the token's name counts",
    )


class Said(Reasoned):
    """What every instruction carries."""

    ttl: Ttl = Field(description="How long it holds: a duration such as 2h, or seconds")


class ModelBody(Said):
    """An instruction about a model."""

    server: str = Field(default="", description="One server; empty: every server it runs on")


class InstancesBody(ModelBody):
    """How many instances."""

    instances: int = Field(ge=0, strict=True, description="Total per server, inside the model's bounds", examples=[4])


class RolloutBody(ModelBody):
    """Another version of a model."""

    version: str = Field(
        pattern=r"^[1-9][0-9]{0,17}$", description="Its number in the model repository", examples=["2"]
    )
    verify_for: Ttl = Field(
        default=120.0, description="How long each server serves both versions before the old one goes"
    )
    with_ensembles: bool = Field(
        default=False, description="Also where it is a component of ensembles, which it reloads"
    )


class ReplicasBody(Said):
    """How many replicas."""

    replicas: int = Field(ge=0, strict=True, description="Inside the workload's bounds", examples=[6])


class BoundsBody(Said):
    """Fewest and most."""

    min: int = Field(ge=0, strict=True, examples=[2])
    max: int = Field(ge=1, strict=True, examples=[12])


class ModelBoundsBody(BoundsBody, ModelBody):
    """Fewest and most instances."""


class OverrideBody(ModelBody):
    """An override of any kind, of a model or of a workload."""

    model: str = Field(default="", description="A model; needed where no workload is named")
    workload: str = Field(default="", description="A workload, of whose replicas it is")
    kind: OverrideKind
    instances: int | None = Field(
        default=None, ge=0, strict=True, description="Needed with kind instances, else left out"
    )
    replicas: int | None = Field(
        default=None, ge=0, strict=True, description="Needed with kind replicas, else left out"
    )
    min: int | None = Field(default=None, ge=0, strict=True, description="Needed with kind bounds, else left out")
    max: int | None = Field(default=None, ge=1, strict=True, description="Needed with kind bounds, else left out")

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Both where both are given."""
        return None if self.min is None or self.max is None else (self.min, self.max)

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if bool(self.model) == bool(self.workload):
            raise ValueError("either a model or a workload is allowed")
        if self.workload and self.server:
            raise ValueError("a server is allowed with a model only")
        return self


class FreezeBody(Said):
    """No scaling for a while."""

    model: str = Field(default="", description="One model, and the workloads it runs on")
    workload: str = Field(default="", description="The replicas of one workload; both empty: all")
    direction: FreezeDirection = FreezeDirection.ALL

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if self.model and self.workload:
            raise ValueError("a model or a workload is allowed, not both")
        return self


def _rate(value: object) -> float:
    try:
        return parse_rate(value)
    except ValueError as error:
        raise ValueError(f"{error}, is allowed") from None


class AnnouncementBody(Reasoned):
    """Demand that will come."""

    name: Line = Field(min_length=1, max_length=100, examples=["autumn-sale"])
    subject: str = Field(description="The model or workload that it comes to")
    start: Moment = Field(description="When it begins")
    end: Moment = Field(description="When it is over; at most 366 days from now")
    factor: float = Field(default=1.0, ge=1, le=1000, description="So many times what there was before it")
    rate: Annotated[
        float,
        BeforeValidator(_rate),
        WithJsonSchema({"type": "string", "format": "rate", "examples": ["50/s"]}),
    ] = Field(default=0.0, description="Requests that come then, on all servers together")


class AnnouncementView(View):
    """Demand that somebody said would come."""

    id: str = Field(description="Of one that the configuration names, its name")
    name: str
    subject: str = Field(description="The model or workload that it comes to")
    start_s: float
    end_s: float
    factor: float
    per_s: float = Field(description="0: no level was told")
    actor: str
    reason: str
    created_at: float


class OverrideView(View):
    """A person's instruction in force."""

    id: str
    model: str = Field(description="Empty: it is of a workload")
    workload: str = Field(description="Empty: it is of a model")
    server: str = Field(description="Empty: every server it runs on")
    kind: OverrideKind
    instances: int | None = Field(description="Total per server; of a workload its replicas")
    min: int | None = Field(validation_alias="least", description="With kind bounds")
    max: int | None = Field(validation_alias="most", description="With kind bounds")
    version: str = Field(description="With kind rollout, else empty")
    verify_s: float = Field(description="With kind rollout: how long a server is watched")
    actor: str
    reason: str
    created_at: float
    expires_at: float


class FreezeView(View):
    """A freeze in force."""

    id: str
    model: str
    workload: str = Field(description="Both empty: all")
    direction: FreezeDirection
    actor: str
    reason: str
    created_at: float
    expires_at: float


class OperationView(View):
    """An override on its way to the servers."""

    id: str
    status: OperationStatus
    detail: str = Field(description="What is awaited, or what went wrong and what mends it")
    override: OverrideView


class ReadinessView(View):
    """A model that is ready."""

    model: str
    servers: list[str]
    waited_s: float


class EndedView(BaseModel):
    """How many were ended."""

    ended: int


class AuditView(View):
    """One thing somebody asked of the control plane."""

    at: float
    actor: str
    verb: str
    subject: str
    detail: str
