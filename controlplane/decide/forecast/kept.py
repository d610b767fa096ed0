"""The state as JSON and back."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from controlplane.decide.forecast.gate import Gate
from controlplane.decide.forecast.path import Path
from controlplane.decide.forecast.season import Season
from controlplane.decide.forecast.state import State
from controlplane.decide.forecast.track import Due, Track


def dumped(state: State) -> dict[str, Any]:
    """The state as values that JSON can hold."""
    kept = asdict(state)
    for season in (kept["day"], kept["week"]):
        season["usual"] = season["usual"].tolist()
    return kept


def loaded(kept: Mapping[str, Any]) -> State:
    """The state that was dumped, exactly. KeyError, TypeError or ValueError where it is of another version."""
    tracks = tuple(
        Track(
            **{**_tuples(track), "due": tuple(Due(**_tuples(due)) for due in track["due"]), "gate": Gate(track["gate"])}
        )
        for track in kept["tracks"]
    )
    return State(
        **{
            **_tuples(kept),
            "tracks": tracks,
            "day": _season(kept["day"]),
            "week": _season(kept["week"]),
            "path": Path(**kept["path"]),
        }
    )


def _season(kept: Mapping[str, Any]) -> Season:
    return Season(**{**kept, "usual": array("d", kept["usual"])})


def _tuples(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) for name, value in kept.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(one) for one in value) if isinstance(value, list | tuple) else value
