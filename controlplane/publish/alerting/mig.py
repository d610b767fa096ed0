"""What is wrong with changes of MIG layouts."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.layouts import ChangeState, MigPicture


def change_failed(mig: MigPicture) -> Iterator[Condition]:
    """The newest change, where it failed: until another one begins."""
    change = mig.change
    if change is not None and change.state is ChangeState.FAILED:
        yield Condition(AlertName.MIG_CHANGE_FAILED, node=change.node, detail=change.why)
