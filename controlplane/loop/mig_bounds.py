"""How many GPUs are out of service, and whether a plan of MIG layouts may take more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

from controlplane.decide.mig.asked import Occupied
from controlplane.decide.mig.rounds import most_at_once, most_gpus, taken_out
from controlplane.decide.mig.settings import MigSettings
from controlplane.domain.layouts import LayoutPlan, MigMemory
from controlplane.loop.mig_going import over_plan

_NAMED = 3


def lost(gpus: Sequence[Occupied], last: MigMemory, agents: Collection[str] | None) -> frozenset[str]:
    """The UUIDs of the GPUs that are out of service and left out of plans.

    They have no copy, though the `last` plan wanted one there or they were out before it. Those on a node that is not
    among the `agents` any more, None: all are, are not ours to bring back.
    """
    layouts = {} if last.plan is None else last.plan.layouts
    wanted = {uuid for uuid, of in layouts.items() if any(piece.models for piece in of)}
    ours = (one for one in gpus if agents is None or one.gpu.reading.node in agents)
    left = {one.gpu.reading.uuid for one in ours if one.why and not one.models}
    return frozenset(left & wanted.union(last.out))


def full(plan: LayoutPlan, resets: Collection[str], lost: Collection[str], settings: MigSettings) -> str:
    """Why the plan may not take so many GPUs out of service; empty: it may, or takes none.

    Those that wait for `resets` are out of service already, and so are those that are `lost`, and those of the plan
    that wait for a copy. More than `max_share` by
    itself are those that need each other: they may go while there are no such.
    """
    rounds = [taken for _, of in groupby(plan.steps, key=lambda step: step.round) if (taken := taken_out(of))]
    if not rounds:
        return ""
    by_node, away = settings.operator is not None, {*resets, *lost}
    waiting = len(away | plan.waiting.keys())
    more = 1 if by_node else most_at_once(plan.steps)
    most = most_gpus(settings.max_share, len(plan.layouts.keys() | away))
    if waiting and waiting + more > most:
        who = [_named(resets, "waits for a reset", "wait for a reset")] if resets else []
        if gone := {*lost} - {*resets}:
            who.append(_named(gone, "has lost its copies", "have lost their copies"))
        if plan.waiting:
            who.append(_named(plan.waiting, "waits for a copy", "wait for copies") + " whose start failed")
        would = f"{more} more would be out of service, and no more than {most} may be (mig.max_share)"
        return "; ".join((*who, would))
    return "" if by_node else over_plan((), rounds[0], plan, settings.max_plan_share)


def _named(uuids: Collection[str], one: str, several: str) -> str:
    names = sorted(uuids)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} {one if len(names) == 1 else several}"
