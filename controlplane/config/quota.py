"""The quota of GPUs as written: its checks against the workloads, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.faults import join, one_of
from controlplane.config.reading import Document
from controlplane.config.tree import QuotaBlock
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import Quota


def check_quota(document: Document) -> Iterator[Fault]:
    """Faults of meaning: types that no workload has, and a quota that is less than the fewest replicas need."""
    quota = document.root.quota
    if quota is None:
        return
    scaled = [part for part in document.workloads if part.item.replicas is not None]
    if quota.gpus is None and not quota.by_gpu:
        yield Fault("quota", "nothing", "at least one of: gpus, by_gpu")
    if not scaled:
        yield Fault("quota", "this key", "only with a workload that has replicas: nothing else heeds it")
        return
    types = tuple(dict.fromkeys(part.item.gpu for part in document.workloads if part.item.gpu is not None))
    for name in quota.by_gpu:
        if name not in types:
            yield Fault(join("quota.by_gpu", name), "this key", f"the gpu of a workload: {one_of(name, types)}")
    for part in scaled if quota.by_gpu else ():
        if part.item.gpu is None:
            yield Fault(join(part.path, "gpu"), "nothing", "the type of its GPUs: quota.by_gpu limits some types")
    needed = [
        (part.item.gpu, part.item.replicas.min * part.item.gpus_per_replica) for part in scaled if part.item.replicas
    ]
    if quota.gpus is not None:
        yield from _check_floor("quota.gpus", quota.gpus, sum(gpus for _, gpus in needed))
    for name, most in quota.by_gpu.items():
        yield from _check_floor(join("quota.by_gpu", name), most, sum(gpus for gpu, gpus in needed if gpu == name))


def _check_floor(path: str, most: int, needed: int) -> Iterator[Fault]:
    if most < needed:
        yield Fault(path, str(most), f"at least {needed}, the GPUs of the replicas.min of all workloads together")


def to_quota(block: QuotaBlock | None) -> Quota:
    """The domain's quota; without one nothing is limited."""
    return Quota() if block is None else Quota(block.gpus, block.by_gpu)
