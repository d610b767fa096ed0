"""A node with two H100, one cut, on which a server of the model `small` runs."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.gpu import GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.observation import FleetReading, Interval, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.sources import AgentSpec

NOW = 1_800_000_000.0
H100 = "NVIDIA H100 80GB HBM3"
FLEET = Fleet(
    (ServerSpec("v0", ServerKind.VLLM, "http://node-a:9000", "http://node-a:9000/metrics"),),
    (ModelSpec("small", "small", ("v0",), Mode.OBSERVE), ModelSpec("idle", "idle", (), Mode.OBSERVE)),
    agents=(AgentSpec("node-a", "http://node-a:8901/metrics"),),
)


def a_slice(profile: str, start: int, size: int, uuid: str) -> SliceReading:
    return SliceReading(
        uuid, 7, 0, Known(profile, NOW), Known(0, NOW), Known(size * 10**10, NOW), Known(Placement(start, size), NOW)
    )


def a_gpu(
    uuid: str = "GPU-a",
    *slices: SliceReading,
    mig: bool = True,
    processes: Signal[tuple[GpuProcess, ...]] | None = None,
    name: str = H100,
) -> GpuReading:
    unknown = Missing("not asked")
    return GpuReading(
        uuid,
        0,
        name,
        unknown,
        unknown,
        Known(80 * 10**9, NOW),
        unknown,
        Known(mig, NOW),
        processes=Known((), NOW) if processes is None else processes,
        slices=Known(slices, NOW),
        node="node-a",
    )


def a_waiting_gpu(uuid: str) -> GpuReading:
    """An Ampere of which MIG is on from its next reset on."""
    return replace(a_gpu(uuid, mig=False), mig_pending=Known(value=True, observed_at=NOW))


def process(slice_uuid: str, port: int = 9000) -> GpuProcess:
    return GpuProcess(1, unread(), slice_uuid, Known((port,), NOW), Known("", NOW))


def unread() -> Missing:
    return Missing("not told")


def a_reading(*gpus: GpuReading, per_s: float = 20.0, at: float = NOW) -> FleetReading:
    """`small` is asked for so often, answered at once."""
    interval = Interval(
        at - 60, at, round(60 * per_s), 0, 0, 0, 0, 1.0, 0.0, 0, 0, 0, 1, running_start=0, running_end=0
    )
    seen = Known(ModelReading(ModelState.READY, pending=Known(0, at), intervals=(interval,)), at)
    server = ServerReading("v0", Known(value=True, observed_at=at), unread(), 0, {"small": seen})
    return FleetReading(at, {"v0": server}, {}, {}, Known(gpus, at))


CUT = a_gpu(
    "GPU-a",
    a_slice("1g.10gb", 0, 1, "MIG-0"),
    a_slice("3g.40gb", 4, 4, "MIG-4"),
    processes=Known((process("MIG-0"),), NOW),
)
EMPTY = a_gpu("GPU-b")
