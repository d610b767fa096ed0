"""What came of changing a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.act.failures import classify
from controlplane.act.mig.operator.failures import OPERATOR_TABLE
from controlplane.domain.failures import FailureClass
from controlplane.domain.mig import GpuLayout, LayoutState


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node whose GPUs were to be cut.

    `drained`: the pods (NAMESPACE/NAME) that went for it, or would; a change that went on after a crash knows only
    those since. `resources`: what manifests ask for now (`nvidia.com/mig-1g.10gb`), and how many the node has.
    `gpus`: as they are cut now, with the new UUIDs of their MIG devices; empty: not told.
    """

    node: str
    state: LayoutState
    detail: str = ""
    drained: tuple[str, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    gpus: tuple[GpuLayout, ...] = ()
    failure: FailureClass | None = None
    remedy: str = ""

    def __str__(self) -> str:
        """For people: what, what pods ask for now, who had to go, and what to do."""
        offers = ", ".join(f"{name}: {count}" for name, count in self.resources.items())
        verb = "would be drained" if self.state is LayoutState.PLANNED else "drained"
        parts = [self.detail, offers and f"pods ask for {offers}", _drained(self.drained, verb), self.remedy]
        return "; ".join(part for part in parts if part)


def failed(node: str, state: LayoutState, why: str, drained: tuple[str, ...] = ()) -> NodeChange:
    """One that was not done, with its class and remedy."""
    failure, remedy = classify(why, table=OPERATOR_TABLE)
    return NodeChange(node, state, why, drained, failure=failure, remedy=remedy)


def _drained(pods: tuple[str, ...], verb: str) -> str:
    return f"{verb}, whichever of the node's GPUs they had: {', '.join(pods)}" if pods else ""
