"""MIG layouts as samples: now, as planned, what is short, whether the plan pays, and what came of changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.fleet import Mode
from controlplane.domain.layouts import ENDS, MigPicture, step_ends
from controlplane.domain.signal import Known, known
from controlplane.publish.metrics.gpus import Sample

NOW, PLANNED = "now", "planned"


def mig_samples(mig: MigPicture) -> Iterator[Sample]:
    """Slices by profile, of the GPUs that are planned also as planned. Without a plan there is nothing planned."""
    gpus = known(mig.gpus) or ()
    slices = Counter((piece.profile, NOW) for gpu in gpus for piece in gpu.now)
    slices.update((piece.profile, PLANNED) for gpu in gpus for piece in gpu.planned or ())
    for key, count in sorted(slices.items()):
        yield names.MIG_SLICES, key, float(count)
    for model in mig.models:
        yield names.MIG_SHORT, (model.name, NOW), model.short_now_per_s
        yield names.MIG_SHORT, (model.name, PLANNED), model.short_then_per_s
    if isinstance(mig.plan, Known):
        plan = mig.plan.value
        yield names.MIG_PLAN_AT, (), mig.plan.observed_at
        yield names.MIG_PLAN_COST, (), plan.cost
        yield names.MIG_PLAN_CHANGED, (), float(plan.changed_slices)
        yield names.MIG_PLAN_PAYS, (), float(plan.pays)
    if mig.mode is Mode.ACT:
        for state in ENDS:
            yield names.MIG_CHANGES, (state.value,), float(mig.changes.get(state, 0))
        for kind, end in step_ends():
            yield names.MIG_STEPS, (kind.value, end.value), float(mig.steps.get((kind, end), 0))
        change = mig.change
        under_way = change is not None and change.ended_at is None
        yield names.MIG_CHANGE_LEFT, (), float(change.steps - change.done if change is not None and under_way else 0)
