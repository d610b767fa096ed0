"""Decisions as JSON, with what followed."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AliasPath, BaseModel, Field

from controlplane.api.views.signals import View
from controlplane.decide.explain import explain, headline
from controlplane.domain.decision import ActionStatus, Decision, DecisionRecord, ReasonCode, Step, Verdict
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode


class TargetView(View):
    """What is or should be for one model on one server."""

    loaded: bool
    instances: int = Field(description="Total on the server; 0 when not loaded")
    versions: list[str] = Field(description="Of the model; empty: those that there are")


class ReasonView(View):
    """One link of the chain of reasons."""

    code: ReasonCode
    numbers: dict[str, float] = Field(examples=[{"demand_per_s": 41.5}])
    words: dict[str, str]


class DecisionView(View):
    """What should be done with one model on one server, and why."""

    id: str
    at: float = Field(description="Unix seconds")
    model: str
    server: str
    mode: Mode
    step: Step
    current: TargetView | None = Field(description="null: not known")
    target: TargetView | None
    binding: ReasonCode = Field(description="The reason that settled it")
    by_person: bool
    actionable: bool = Field(description="Whether it is carried out, not only shown")
    headline: str = Field(default="", description="One line for people")
    reasons: list[ReasonView]

    @classmethod
    def of(cls, decision: Decision) -> DecisionView:
        """As it was made."""
        return DecisionView.model_validate(decision).model_copy(update={"headline": headline(decision)})


class ActionView(View):
    """A step under way."""

    id: str = Field(description="That of its decision")
    model: str
    server: str
    step: Step
    target: TargetView
    issued_at: float


class OutcomeView(View):
    """What came of an action."""

    status: ActionStatus
    issued_at: float = Field(validation_alias=AliasPath("action", "issued_at"))
    finished_at: float
    detail: str
    failure: FailureClass | None
    remedy: str
    in_place: bool | None = Field(description="Whether instances were changed without a reload; null: neither")


class EffectView(View):
    """Throughput before and after the action, and what that tells."""

    verdict: Verdict
    at: float
    before_per_s: float
    after_per_s: float


class DecisionRecordView(DecisionView):
    """A decision as kept, with all that followed."""

    last_at: float = Field(description="It was decided alike again until then")
    repeats: int = Field(description="How many times it was decided alike again")
    outcomes: list[OutcomeView]
    effect: EffectView | None = Field(description="null: not judged yet, or nothing to judge")

    @classmethod
    def of_record(cls, record: DecisionRecord) -> DecisionRecordView:
        """As it is now."""
        return DecisionRecordView.model_construct(
            **dict(DecisionView.of(record.decision)),
            last_at=record.last_at,
            repeats=record.repeats,
            outcomes=[OutcomeView.model_validate(outcome) for outcome in record.outcomes],
            effect=None if record.effect is None else EffectView.model_validate(record.effect),
        )


class ExplanationView(BaseModel):
    """A decision in words: what was seen, decided, binding, done, and what came of it."""

    id: str
    lines: list[str]

    @classmethod
    def of(cls, record: DecisionRecord, more: Sequence[str] = ()) -> ExplanationView:
        """A few lines, and more at the end."""
        return cls(id=record.decision.id, lines=[*explain(record), *more])
