"""What Triton's `instance_group` says, and how to say another number of instances with it.

`count` is per listed GPU: a KIND_GPU group with two `gpus` and count 3 makes six instances; CPU, AUTO and MODEL groups
make `count`. A configuration read back from a server always lists the GPUs of a KIND_GPU group, also where config.pbtxt
left them out (then: every GPU). Passive groups never execute and are neither counted nor changed.
Source: triton core src/backend_model_instance.cc (SetInstances).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]
"""A model configuration as JSON gives it (GET /v2/models/M/config)."""


def total_instances(config: Config) -> int:
    """Instances that execute, over all groups of a loaded model's configuration. Without any group: Triton's one."""
    groups = _groups(config)
    if not groups:
        return 1
    return sum(_count(group) * _weight(group) for group in groups if not group.get("passive"))


def instance_step(config: Config) -> int:
    """The smallest change of the total that is always possible: the fewest GPUs that a group lists, at least 1."""
    return min((_weight(group) for group in _groups(config) if not group.get("passive")), default=1)


def gpu_indices(config: Config) -> tuple[int, ...]:
    """Indices of the GPUs on which instances execute, ascending, each once; empty on CPU."""
    return tuple(
        sorted(
            {
                int(gpu)
                for group in _groups(config)
                if group.get("kind") == "KIND_GPU" and not group.get("passive")
                for gpu in group.get("gpus") or ()
            }
        )
    )


def with_total(config: Config, total: int) -> dict[str, Any]:
    """The configuration with `total` instances, spread evenly over its groups; nothing else is changed.

    Every group keeps at least one. A total that the groups cannot express is rounded up to the next one that they can:
    ask `total_instances` of the result. With only passive groups the configuration comes back as it was.
    """
    groups = [dict(group) for group in _groups(config)] or [{"count": 1, "kind": "KIND_AUTO"}]
    active = [group for group in groups if not group.get("passive")]
    counts = _spread([_weight(group) for group in active], total)
    for group, count in zip(active, counts, strict=True):
        group["count"] = count
    return {**config, "instance_group": groups}


def _groups(config: Config) -> Sequence[Mapping[str, Any]]:
    return config.get("instance_group") or ()


def _count(group: Mapping[str, Any]) -> int:
    return int(group.get("count", 1))


def _weight(group: Mapping[str, Any]) -> int:
    """Instances that one more `count` makes."""
    return max(1, len(group.get("gpus") or ())) if group.get("kind") == "KIND_GPU" else 1


def _spread(weights: Sequence[int], total: int) -> list[int]:
    """Counts >= 1 with the smallest sum(count * weight) >= total, the counts as equal as that sum allows."""
    if not weights:
        return []
    rest = max(0, total - sum(weights))
    reachable = [True]
    while len(reachable) <= rest or not reachable[-1]:
        size = len(reachable)
        reachable.append(any(size >= weight and reachable[size - weight] for weight in weights))
    rest = len(reachable) - 1
    counts = [1] * len(weights)
    while rest > 0:
        fits = [i for i, weight in enumerate(weights) if rest >= weight and reachable[rest - weight]]
        lowest = min(fits, key=lambda i: counts[i])
        counts[lowest] += 1
        rest -= weights[lowest]
    return counts
