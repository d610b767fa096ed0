"""The profiles of models as written: files read once, and checked against where the models run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from controlplane.config.faults import join
from controlplane.config.profile_file import kind_of, load_profile, suits
from controlplane.config.reading import Document, ModelPart
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind
from controlplane.domain.profiles import Profile


def with_profiles(document: Document) -> tuple[Document, list[Fault]]:
    """The document with the profile of each model that has one, and the faults of profile files."""
    faults: list[Fault] = []
    profiles: dict[str, Profile] = {}
    for part in document.models:
        if part.item.profile is not None:
            profile, found = load_profile(part.item.profile, join(part.path, "profile"))
            faults += found
            if profile is not None:
                profiles[part.item.name] = profile
    return replace(document, profiles=profiles), faults


def check_profile(part: ModelPart, profile: Profile, kind: ServerKind) -> Iterator[Fault]:
    """A profile is of the kind of the model's servers."""
    if not suits(profile, kind):
        allowed = f"a profile of a model on {kind.value}; this one is of kind {kind_of(profile)}"
        yield Fault(join(part.path, "profile"), repr(part.item.profile), allowed)
