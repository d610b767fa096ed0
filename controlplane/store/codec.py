"""Domain values as JSON text and back."""

from __future__ import annotations

import json
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from controlplane.domain.alerts import AlertState, AlertStates
from controlplane.domain.decision import Action, Decision, Effect, Outcome
from controlplane.domain.errors import StoreError
from controlplane.domain.expected import Announced
from controlplane.domain.history import Adjustment, AlertEvent, ObjectiveVersion
from controlplane.domain.instructions import Freeze, Override
from controlplane.domain.layouts import MigMemory
from controlplane.domain.received import ReceivedAlert
from controlplane.domain.records import Unclosed
from controlplane.domain.state import PolicyState

T = TypeVar("T")


class Codec(Generic[T]):
    """Writes values of one type as JSON and reads them back equal.

    Reading ignores fields it does not know and fills new ones with their defaults, so that rows outlive versions.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def dump(self, value: T) -> str:
        """JSON text; zones are their names. Infinity and NaN are kept, which the type's own serializer makes null."""
        try:
            return to_json(value, fallback=str).decode()
        except PydanticSerializationError:  # half of a surrogate pair, in what a server said
            plain = to_jsonable_python(value, fallback=str)
            return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace").decode()

    def load(self, body: str) -> T:
        """The value. Raises StoreError when the text holds none."""
        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            raise StoreError(
                f"a stored {self._kind.__name__} cannot be read ({error.error_count()} faults); "
                "it was written by another version of controlplane or the database is damaged"
            ) from error


ACTION = Codec(Action)
ADJUSTMENT = Codec(Adjustment)
ANNOUNCED = Codec(Announced)
ALERT_EVENT = Codec(AlertEvent)
ALERT_STATES: Codec[AlertStates] = Codec(dict[str, AlertState])
DECISION = Codec(Decision)
EFFECT = Codec(Effect)
FREEZE = Codec(Freeze)
MIG_MEMORY = Codec(MigMemory)
OBJECTIVE_VERSION = Codec(ObjectiveVersion)
OUTCOME = Codec(Outcome)
OVERRIDE = Codec(Override)
POLICY_STATE = Codec(PolicyState)
RECEIVED_ALERT = Codec(ReceivedAlert)
UNCLOSED = Codec(Unclosed)
