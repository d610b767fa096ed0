"""What is no fault of `mig`, but better known."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.settings import Settings
from controlplane.decide.mig.settings import MigSettings
from controlplane.domain.fleet import Mode


def mig_notes(settings: Settings) -> Iterator[str]:
    """Lines on models of which nothing is known, on what acts though all else does not, and on servers that stay."""
    mig = settings.mig
    if mig is None or mig.mode is Mode.OBSERVE:
        return
    for wish in mig.models:
        if not any(wish.profiles.values()):
            yield (
                f"mig: nothing tells what a copy of {wish.name} serves, since its `profiles` have no number above 0: it"
                " is planned only where that was learned from a copy on a slice"
            )
    yield from _several(mig, settings)
    if mig.mode is not Mode.ACT:
        return
    if settings.mode is not Mode.ACT:
        yield (
            f"mig: it acts, though `mode` is {settings.mode.value}: GPUs are cut and copies started and drained all"
            " the same, since `mig.mode` stands by itself; set `mig.mode: recommend` where that is not meant"
        )
    yield from _listed(mig, settings)


def _several(mig: MigSettings, settings: Settings) -> Iterator[str]:
    """Copies that take more GPUs than the one on which they are planned."""
    gpus = {workload.name: workload.gpus_per_replica for workload in settings.fleet.workloads}
    on = {model.name: model.workloads for model in settings.fleet.models}
    for name in (wish.name for wish in mig.models if wish.whole):
        workload = on[name][0]
        yield (
            f"mig: a copy of {name} is planned on one whole GPU, though a replica of {workload} has {gpus[workload]}:"
            " whatever starts it has to find the others, and GPUs that a copy has together with others are left alone"
        )


def _listed(mig: MigSettings, settings: Settings) -> Iterator[str]:
    """Copies on slices that come and go by themselves, of models whose servers cannot."""
    planned = {wish.name for wish in mig.models}
    listed = {server.name for server in settings.fleet.servers}
    for model in settings.fleet.models:
        fixed = [name for name in model.runs_on if name in listed]
        if model.name in planned and fixed:
            yield (
                f"mig: a copy of {model.name} that is drained leaves {', '.join(fixed)} unreachable, and nothing is"
                " then known of its demand; let a workload find its servers"
            )
