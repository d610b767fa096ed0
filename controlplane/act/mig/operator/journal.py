"""How far the change of a node is, in an annotation of the node: it outlives us, and changes together with the node."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from controlplane.kube.connection import ApiObject

ANNOTATION = "mig.controlplane/change"


class Phase(StrEnum):
    """How far it is."""

    DRAINING = "draining"
    """The node is cordoned, and its pods with GPUs are asked to go."""
    CHANGING = "changing"
    """The label is set, and mig-manager has the word."""
    FAILED = "failed"
    """It is left cordoned, for a person, or for being asked again."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A change: to which configuration, by either of its names, how far, and since when (unix seconds).

    `cordoned`: we cordoned the node, and may end that. `why` it failed. `models` that it touches, None: not told.
    """

    config: str
    phase: Phase
    since: float
    cordoned: bool
    why: str = ""
    models: tuple[str, ...] | None = None

    def text(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), sort_keys=True)


def journal_of(node: ApiObject) -> Journal | None:
    """That of a node; None: it has none, or one that nobody can read."""
    text = (node["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    try:
        told = json.loads(text)
        phase, since, models = Phase(told["phase"]), float(told["since"]), told.get("models")
        touched = None if models is None else tuple(map(str, models))
        return Journal(str(told["config"]), phase, since, bool(told["cordoned"]), str(told["why"]), touched)
    except (TypeError, ValueError, KeyError):
        return None
