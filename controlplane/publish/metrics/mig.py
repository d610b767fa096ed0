"""MIG layouts as samples: now, as planned, what is short, and whether the plan pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.layouts import MigPicture
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
