"""Recommendations beside what came, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from controlplane.decide.compare import Came, Comparison, in_words
from controlplane.domain.decision import Step


class AttainmentView(BaseModel):
    """How an objective was attained in the time of a recommendation."""

    model: str
    objective: str
    attainment: float | None = Field(description="Good events of those counted; null: none were")


class ComparisonView(BaseModel):
    """A recommendation that nobody carried out, and what was when its time had passed."""

    id: str = Field(description="Of the decision")
    at: float = Field(description="Unix seconds")
    until: float = Field(description="Unix seconds: at what moment it is compared")
    model: str
    server: str = Field(description="Of replicas the workload")
    step: Step
    before: int | None = Field(description="Instances or replicas that were there; null: not known")
    recommended: int | None
    was: int | None = Field(description="Those there at `until`; null: not known")
    wanted: int | None = Field(description="Those that the decision of that moment wanted")
    most_wanted: int | None = Field(description="The most that a decision meanwhile wanted")
    demand_per_s: float | None = Field(description="The highest demand that a decision meanwhile told of")
    came: Came
    attainment: list[AttainmentView]
    text: str = Field(description="The same in one line")

    @classmethod
    def of(cls, comparison: Comparison) -> ComparisonView:
        """As it came."""
        decision = comparison.decision
        return cls(
            id=decision.id,
            at=decision.at,
            until=comparison.until,
            model=decision.model,
            server=decision.server,
            step=decision.step,
            before=None if decision.current is None else decision.current.instances,
            recommended=None if decision.target is None else decision.target.instances,
            was=comparison.was,
            wanted=comparison.wanted,
            most_wanted=comparison.most_wanted,
            demand_per_s=comparison.demand_per_s,
            came=comparison.came,
            attainment=[
                AttainmentView(model=model, objective=objective, attainment=share)
                for (model, objective), share in comparison.attainment.items()
            ],
            text=in_words(comparison),
        )
