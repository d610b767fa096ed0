"""What people said that forbids moving copies, which holds a change of MIG layouts, also in the middle; and of what."""

from __future__ import annotations

from collections.abc import Collection

from controlplane.domain.instructions import FreezeDirection, OverrideKind
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import known
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.mig_seen import occupied


def forbidden(models: Collection[str] | None, now: Snapshot, at: float) -> str:
    """Why these models must not be moved, None: nobody knows which are; empty: they may be.

    A freeze of everything does, with direction `all`, and one of a model or of a workload on which it runs. So does an
    override of it, which says what is to run: but for bounds, inside which the policy decides.
    """
    names = None if models is None else _with_workloads(models, now)
    for freeze in now.freezes:
        holds = not freeze.subject or names is None or freeze.subject in names
        if holds and freeze.direction is FreezeDirection.ALL and freeze.expires_at > at:
            return f"{freeze.subject or 'everything'} is frozen by {freeze.actor}: {freeze.reason}"
    for said in now.overrides:
        holds = names is None or said.subject in names
        if holds and said.kind is not OverrideKind.BOUNDS and said.expires_at > at:
            return f"{said.subject} is under an override ({said.kind}) by {said.actor}: {said.reason}"
    return ""


def touched(node: str, now: Snapshot) -> tuple[str, ...] | None:
    """The models that draining a node disturbs: with a copy on any of its GPUs, or on a server that computes there.

    None where not everything that computes there is known: a model in it may be one that a person spoke of.
    """
    gpus = [gpu for gpu in known(now.reading.gpus) or () if gpu.node == node]
    processes = [known(gpu.processes) for gpu in gpus]
    servers = ProcessServers(now.fleet)
    computing = {known(servers.server_of(one, node)) for of_gpu in processes for one in of_gpu or ()}
    if not gpus or None in processes or None in computing:
        return None
    on_servers = {model.name for model in now.fleet.models if computing.intersection(model.runs_on)}
    here = (one for one in occupied(now.fleet, now.reading, None) if one.gpu.reading.node == node)
    on_gpus = {name for one in here for names in one.models.values() for name in names}
    return tuple(sorted(on_servers | on_gpus))


def _with_workloads(models: Collection[str], now: Snapshot) -> set[str]:
    found = set(models)
    for name in models:
        spec = now.fleet.model(name)
        found.update(spec.workloads if spec is not None else ())
    return found
