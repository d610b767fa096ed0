"""Layouts, steps and outcomes as JSON: what the agent answers and its journal holds, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.domain.mig import (
    Act,
    CopyOutcome,
    CopyState,
    CutSlice,
    GpuLayout,
    LayoutOutcome,
    LayoutState,
    LayoutStep,
    Slice,
)


def piece_document(piece: Slice) -> dict[str, Any]:
    """A slice."""
    return {"profile": piece.profile, "start": piece.start}


def outcome_document(outcome: LayoutOutcome) -> dict[str, Any]:
    """What became of a layout that was asked for."""
    return {
        "gpu": outcome.gpu,
        "state": outcome.state.value,
        "detail": outcome.detail,
        "steps": [
            {
                "action": step.act.value,
                **piece_document(step.piece),
                "done": step.done,
                "uuid": step.uuid,
                "note": step.note,
            }
            for step in outcome.steps
        ],
    }


def layout_document(gpu: GpuLayout) -> dict[str, Any]:
    """A GPU as it is cut."""
    return {
        "uuid": gpu.uuid,
        "name": gpu.name,
        "board": gpu.board or None,
        "mig": gpu.mig,
        "mig_pending": gpu.mig_pending,
        "layout": [
            {
                **piece_document(cut.piece),
                "size": cut.size,
                "uuids": list(cut.uuids),
                "sm": cut.sm,
                "memory_mib": cut.memory_mib,
                "processes": list(cut.processes),
            }
            for cut in sorted(gpu.slices, key=lambda cut: cut.piece.start)
        ],
        "why": gpu.why,
        "last": None if gpu.last is None else outcome_document(gpu.last),
    }


def copy_document(outcome: CopyOutcome) -> dict[str, Any]:
    """What became of a copy."""
    return {
        "gpu": outcome.gpu,
        **piece_document(outcome.piece),
        "model": outcome.model,
        "state": outcome.state.value,
        "detail": outcome.detail,
    }


def copy_of_document(document: Mapping[str, Any]) -> CopyOutcome:
    """The reverse. Raises KeyError, ValueError, TypeError for what is none."""
    return CopyOutcome(
        str(document["gpu"]),
        _piece(document),
        str(document["model"]),
        CopyState(document["state"]),
        str(document["detail"]),
    )


def outcome_of_document(document: Mapping[str, Any]) -> LayoutOutcome:
    """The reverse. Raises KeyError, ValueError, TypeError for what is none."""
    return LayoutOutcome(
        str(document["gpu"]),
        LayoutState(document["state"]),
        tuple(
            LayoutStep(
                Act(step["action"]), _piece(step), bool(step["done"]), str(step["uuid"]), str(step.get("note", ""))
            )
            for step in document["steps"]
        ),
        str(document["detail"]),
    )


def layout_of_document(document: Mapping[str, Any]) -> GpuLayout:
    """The reverse. Raises KeyError, ValueError, TypeError for what is none."""
    last = document["last"]
    return GpuLayout(
        str(document["uuid"]),
        str(document["name"]),
        str(document["board"] or ""),
        document["mig"],
        document["mig_pending"],
        tuple(
            CutSlice(
                _piece(cut),
                int(cut["size"]),
                tuple(map(str, cut["uuids"])),
                int(cut["sm"]),
                int(cut["memory_mib"]),
                tuple(map(str, cut["processes"])),
            )
            for cut in document["layout"]
        ),
        str(document["why"]),
        None if last is None else outcome_of_document(last),
    )


def _piece(document: Mapping[str, Any]) -> Slice:
    return Slice(str(document["profile"]), int(document["start"]))
