"""What people said as samples: overrides and freezes in force, and when they run out."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.picture import Picture
from controlplane.publish.metrics.gpus import Sample

_ALL = "*"


def people_samples(picture: Picture) -> Iterator[Sample]:
    """Of every model and workload (one of the two labels is empty), none in force among them; model * is all."""
    models = [(model.name, "") for model in picture.fleet.models]
    scaled = [("", spec.name) for spec in picture.fleet.workloads if spec.replicas is not None]
    for subject in (*models, *scaled):
        yield from _overrides(picture, subject)
    for subject in ((_ALL, ""), *models, *scaled):
        yield from _freezes(picture, subject)


def _overrides(picture: Picture, subject: tuple[str, str]) -> Iterator[Sample]:
    found = [o for o in picture.overrides if (o.model, o.workload) == subject]
    yield names.OVERRIDES_ACTIVE, subject, float(len(found))
    for kind in sorted({o.kind for o in found}):
        yield names.OVERRIDE_EXPIRES, (*subject, kind.value), max(o.expires_at for o in found if o.kind is kind)


def _freezes(picture: Picture, subject: tuple[str, str]) -> Iterator[Sample]:
    name = "" if subject == (_ALL, "") else "".join(subject)
    found = [f for f in picture.freezes if f.subject == name]
    yield names.FREEZES_ACTIVE, subject, float(len(found))
    for way in sorted({f.direction for f in found}):
        yield names.FREEZE_EXPIRES, (*subject, way.value), max(f.expires_at for f in found if f.direction is way)
