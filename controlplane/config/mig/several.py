"""Models of which a copy takes several GPUs: tensor parallel needs a way from GPU to GPU, and MIG slices have none."""

from __future__ import annotations

from controlplane.config.names import expand
from controlplane.config.reading import Document


def several_gpus(document: Document) -> dict[str, tuple[str, int]]:
    """By model a workload of it, and the GPUs of one replica; of models that run on nothing with one GPU.

    https://docs.nvidia.com/datacenter/tesla/mig-user-guide (no peer-to-peer between MIG devices)
    """
    gpus = {part.item.name: part.item.gpus_per_replica for part in document.workloads}
    servers = [part.item.name for part in document.servers]
    found = {}
    for part in document.models:
        name, on = part.item.name, expand(part.item.runs_on, gpus)
        if on and not expand(part.item.runs_on, servers) and all(gpus[one] > 1 for one in on):
            found[name] = (on[0], gpus[on[0]])
    return found
