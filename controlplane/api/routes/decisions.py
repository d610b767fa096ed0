"""Decisions: what was decided, why, and what came of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from controlplane.api.context import ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.comparisons import ComparisonView
from controlplane.api.views.decisions import DecisionRecordView, ExplanationView
from controlplane.api.views.received import told_then
from controlplane.decide.compare import in_words

router = APIRouter(prefix="/api/v1/decisions", tags=["decisions"])


@router.get("", summary="Decisions, newest first", responses=responses(404))
async def decisions(
    plane: ThePlane,
    _: Viewer,
    model: Annotated[str, Query(description="Of one model; empty: of all")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    changes_only: Annotated[bool, Query(description="Leave out those that hold what is there")] = False,
) -> list[DecisionRecordView]:
    """A decision alike to the one before is counted there (`repeats`), not listed again."""
    records = await plane.desk.decisions(model, limit, changes_only=changes_only)
    return [DecisionRecordView.of_record(record) for record in records]


@router.get("/compared", summary="Recommendations beside what came", responses=responses(404))
async def compared(
    plane: ThePlane,
    _: Viewer,
    model: Annotated[str, Query(description="Of one model; empty: of all")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Among so many changes decided on last")] = 50,
) -> list[ComparisonView]:
    """Of instance and replica counts that were shown and not carried out, once their time has passed."""
    return [ComparisonView.of(found) for found in await plane.desk.comparisons(model, limit)]


@router.get("/{decision_id}", summary="One decision", responses=responses(404))
async def decision(decision_id: str, plane: ThePlane, _: Viewer) -> DecisionRecordView:
    """By its id or a unique beginning of it."""
    return DecisionRecordView.of_record(await plane.desk.decision(decision_id))


@router.get("/{decision_id}/explain", summary="One decision in words", responses=responses(404))
async def explanation(decision_id: str, plane: ThePlane, _: Viewer) -> ExplanationView:
    """What was seen, what was decided, which constraint bound, what was done and came of it; which alerts fired."""
    record = await plane.desk.decision(decision_id)
    firing = await plane.inbox.firing(record.decision.at, record.decision.model)
    comparison = await plane.desk.comparison(record)
    came = [] if comparison is None else [f"came:    {in_words(comparison)}"]
    return ExplanationView.of(record, [*came, *told_then(firing, record.decision.at)])
