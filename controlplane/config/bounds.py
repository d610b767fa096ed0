"""How short and how long each duration may be, and the same of shares: what is beyond could not be meant.

The bounds are part of the form, so that they stand in the reference and the JSON Schema. Numbers have theirs where
they are written (`ge` and `le`); that nothing is without, a test sees to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from controlplane.config.units import Duration, Share, WindowLength, format_duration, format_share

_HOUR_S, _DAY_S = 3600.0, 86400.0

LEAST, MOST = "x-least", "x-most"
"""Keys of the JSON Schema, which has none of its own for texts."""


UNBOUNDED: Mapping[str, object] = MappingProxyType({})
"""Context of a validation that takes what is out of bounds as it is: its faults are told, the rest is to be judged."""


@dataclass(frozen=True, slots=True)
class Within:
    """Both bounds are allowed; `write` gives the written form of a value. What is no number has none."""

    least: float
    most: float
    write: Callable[[float], str] = format_duration

    def check(self, value: object) -> object:
        """The value. Raises ValueError whose text says what is allowed."""
        if isinstance(value, float) and not self.least <= value <= self.most:
            raise ValueError(f"{self.write(self.least)} to {self.write(self.most)}")
        return value

    def _checked(self, value: object, info: ValidationInfo) -> object:
        return value if info.context is UNBOUNDED else self.check(value)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), LEAST: self.write(self.least), MOST: self.write(self.most)}


ReadEvery = Annotated[Duration, Within(0.1, 600.0)]
"""Between two readings of a server; SLO history has slices of 10 s."""
ActEvery = Annotated[Duration, Within(0.1, _HOUR_S)]
"""Between two decisions, or two readings of somebody else's."""
ProbeEvery = Annotated[Duration, Within(0.1, _DAY_S)]
Timeout = Annotated[Duration, Within(0.01, 600.0)]
"""Of one question over the network."""
Lease = Annotated[Duration, Within(1.0, 600.0)]
"""Below 1 s every slow write to the store would change the leader."""
Threshold = Annotated[Duration, Within(0.0001, _DAY_S)]
"""Of one request, or one token."""
Settling = Annotated[Duration, Within(0.1, _HOUR_S)]
Patience = Annotated[Duration, Within(1.0, _DAY_S)]
"""Until something is done, or done again."""
Holding = Annotated[Duration, Within(1.0, 28 * _DAY_S)]
"""For which something is believed, kept or left alone."""
Freezing = Annotated[Duration, Within(1.0, 365 * _DAY_S)]
"""By an alert; one that can hardly be meant is told in a note."""
WarmFor = Annotated[Duration, Within(60.0, 7 * _DAY_S)]
Window = Annotated[WindowLength, Within(_HOUR_S, 90 * _DAY_S)]
Quantile = Annotated[Share, Within(0.5, 0.9999, format_share)]
"""Of demand to be served; below one half most of the time some would wait."""
