"""How objectives stand is shown as its own values have it; here stand the bodies in which people correct it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from controlplane.api.views.people import Line, Moment
from controlplane.config.units import format_duration, parse_duration, parse_share
from controlplane.domain.history import AdjustmentKind
from controlplane.loop.slo_desk import ADJUSTABLE_S

_SHORTEST_S = 60.0


def _window(value: object) -> float:
    form = f"a duration from {format_duration(_SHORTEST_S)} to {format_duration(ADJUSTABLE_S)} is allowed, such as 28d"
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError(form) from None
    if not _SHORTEST_S <= seconds <= ADJUSTABLE_S:
        raise ValueError(form)
    return seconds


Window = Annotated[
    float,
    BeforeValidator(_window),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["28d"]}),
]
Threshold = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["200ms"]}),
]
Target = Annotated[
    float, BeforeValidator(parse_share), WithJsonSchema({"type": "string", "format": "share", "examples": ["99%"]})
]


class AdjustmentBody(BaseModel):
    """A correction: a time that does not count, events counted otherwise, or one of these taken back."""

    model_config = ConfigDict(extra="forbid")

    kind: AdjustmentKind
    reason: Line = Field(min_length=1, max_length=500, examples=["INC-1234: the load test of team A"])
    objective: str = Field(default="", description="One objective; empty: every one of the model. Events need one")
    start: Moment | None = Field(default=None, description="With kind exclude and events: from when on")
    end: Moment | None = Field(default=None, description="Up to when; with events not after now")
    bad: int | None = Field(
        default=None, strict=True, description="With kind events: bad events more; negative: fewer", examples=[-120]
    )
    withdraws: str | None = Field(
        default=None, min_length=1, description="With kind withdraw: the id of an earlier one"
    )
    actor: Line | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Who says it; only where no tokens are in use, else the token's name counts",
    )

    @model_validator(mode="after")
    def _whole(self) -> AdjustmentBody:
        needed = _NEEDED[self.kind]
        given = {name for name in ("start", "end", "bad", "withdraws") if getattr(self, name) is not None}
        if given != set(needed):
            raise ValueError(f"kind {self.kind.value} takes {', '.join(needed)}, no more and no less")
        if self.bad == 0:
            raise ValueError("bad is not 0: events are added or taken back")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("start must lie before end")
        return self


_NEEDED = {
    AdjustmentKind.EXCLUDE: ("start", "end"),
    AdjustmentKind.EVENTS: ("start", "end", "bad"),
    AdjustmentKind.WITHDRAW: ("withdraws",),
}
