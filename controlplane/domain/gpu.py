"""GPUs as they were seen: figures, processes, MIG slices."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from controlplane.domain.signal import Known, Missing, Signal


def _never() -> Missing:
    return Missing("never read")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a MIG slice lies on its GPU: first memory unit and number of units."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class SliceReading:
    """One MIG slice. `profile` is its name as NVML gives it (1g.18gb).

    Utilisation as in GpuReading, of the slice's own SMs and memory; slices of one GPU instance share it.
    Where the source tells neither, `compute_instance` is None and `uuid` the GPU's with the number of the GPU instance.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int | None
    profile: Signal[str]
    memory_used_bytes: Signal[int]
    memory_total_bytes: Signal[int]
    placement: Signal[Placement]
    utilisation: Signal[float] = field(default_factory=_never)
    sm_utilisation: Signal[float] = field(default_factory=_never)
    tensor_utilisation: Signal[float] = field(default_factory=_never)
    bandwidth_utilisation: Signal[float] = field(default_factory=_never)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU; `slice_uuid` names the MIG slice it runs in, empty: the whole GPU.

    `pid` is that of its own machine as the NVML there sees it. `ports` are the TCP ports on which it or a process above
    it listens, its own first; `pod_uid` is that of its Kubernetes pod, empty where it is in none.
    """

    pid: int
    memory_used_bytes: Signal[int]
    slice_uuid: str = ""
    ports: Signal[tuple[int, ...]] = field(default_factory=_never)
    pod_uid: Signal[str] = field(default_factory=_never)


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU. Utilisation as a fraction 0 to 1, memory in bytes, power in watts, temperature in Celsius.

    `utilisation`: of the time, something was executed; `sm_utilisation`: of the SMs, busy; `tensor_utilisation`: of the
    time, the tensor cores worked; `bandwidth_utilisation`: of the memory's bandwidth, used.
    `node`: name of the agent that told it; empty: this machine. `throttle_reasons`: what holds the clocks down.
    `ecc_uncorrected` counts since the driver was loaded. `last_xid` is the number of the last XID error since NVML was
    first asked, 0: none. `slices` is empty where MIG is off. `mig_pending`: whether MIG is on after the next reset.
    """

    uuid: str
    index: int
    name: str
    utilisation: Signal[float]
    memory_used_bytes: Signal[int]
    memory_total_bytes: Signal[int]
    power_w: Signal[float]
    mig_enabled: Signal[bool]
    temperature_c: Signal[int] = field(default_factory=_never)
    sm_clock_mhz: Signal[int] = field(default_factory=_never)
    throttle_reasons: Signal[tuple[str, ...]] = field(default_factory=_never)
    ecc_uncorrected: Signal[int] = field(default_factory=_never)
    last_xid: Signal[int] = field(default_factory=_never)
    processes: Signal[tuple[GpuProcess, ...]] = field(default_factory=_never)
    slices: Signal[tuple[SliceReading, ...]] = field(default_factory=_never)
    node: str = ""
    sm_utilisation: Signal[float] = field(default_factory=_never)
    tensor_utilisation: Signal[float] = field(default_factory=_never)
    bandwidth_utilisation: Signal[float] = field(default_factory=_never)
    mig_pending: Signal[bool] = field(default_factory=_never)

    @property
    def waits_for_reset(self) -> bool:
        """Whether its MIG mode is known to change at its next reset."""
        return (
            isinstance(self.mig_enabled, Known)
            and isinstance(self.mig_pending, Known)
            and self.mig_enabled.value != self.mig_pending.value
        )


GPU_SIGNALS = tuple(f.name for f in fields(GpuReading) if f.name not in {"uuid", "index", "name", "node"})
SLICE_SIGNALS = tuple(f.name for f in fields(SliceReading) if not f.name.endswith(("uuid", "instance")))
"""The fields that are signals."""
THROTTLE_REASONS = (
    "clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clock",
)
"""Our names of what holds a GPU's clocks down."""
