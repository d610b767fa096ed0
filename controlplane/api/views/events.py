"""What happened, as the data of server-sent events."""

from __future__ import annotations

from pydantic import AliasPath, BaseModel, Field

from controlplane.api.views.alerts import AlertEventView
from controlplane.api.views.decisions import DecisionView, OutcomeView
from controlplane.api.views.people import AuditView
from controlplane.domain.decision import Decision, Outcome, Step
from controlplane.domain.history import AlertEvent
from controlplane.domain.records import AuditEntry


class OutcomeEventView(OutcomeView):
    """What came of an action, and of which."""

    decision_id: str = Field(validation_alias=AliasPath("action", "id"))
    model: str = Field(validation_alias=AliasPath("action", "model"))
    server: str = Field(validation_alias=AliasPath("action", "server"))
    step: Step = Field(validation_alias=AliasPath("action", "step"))


def told(value: Decision | Outcome | AlertEvent | AuditEntry) -> tuple[str, BaseModel]:
    """The name of the event, and its data."""
    match value:
        case Decision():
            return "decision", DecisionView.of(value)
        case Outcome():
            return "outcome", OutcomeEventView.model_validate(value)
        case AlertEvent():
            return "alert", AlertEventView.model_validate(value)
        case AuditEntry():
            return "instruction", AuditView.model_validate(value)
