"""GPUs and MIG slices as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from controlplane.api.views.signals import SignalView, part, within
from controlplane.domain.fleet import Fleet
from controlplane.domain.gpu import GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import Missing, Signal, last_value


class PlacementView(BaseModel):
    """Where a MIG slice lies, in memory units of its GPU."""

    start: int
    size: int


class SliceView(BaseModel):
    """A MIG slice now."""

    uuid: str = Field(description="Where the node's agent is a DCGM exporter: that of the GPU and the GPU instance")
    gpu_instance: int
    compute_instance: int | None = Field(description="null where the node's agent is a DCGM exporter")
    profile: SignalView[str] = Field(description="Name as NVML gives it, such as 1g.18gb")
    utilisation: SignalView[float]
    sm_utilisation: SignalView[float]
    tensor_utilisation: SignalView[float]
    bandwidth_utilisation: SignalView[float]
    memory_used_bytes: SignalView[int]
    memory_total_bytes: SignalView[int]
    placement: SignalView[PlacementView]


class ProcessView(BaseModel):
    """A process that computes on a GPU."""

    pid: int = Field(description="On its own machine")
    slice: str = Field(description="UUID of the MIG slice it runs in; empty: the whole GPU")
    memory_used_bytes: SignalView[int]
    server: SignalView[str] = Field(description="Name of the server it belongs to")
    ports: SignalView[list[int]] = Field(
        description="TCP ports on which it or a process above it listens, its own first"
    )
    pod_uid: SignalView[str] = Field(description="UID of its Kubernetes pod; empty: in none")


class GpuView(BaseModel):
    """A GPU now. Shares are 0 to 1."""

    node: str = Field(description="Name of the agent that told it; empty: the machine of the control plane")
    uuid: str
    index: int
    name: str
    utilisation: SignalView[float] = Field(description="Of the time, something was executed")
    sm_utilisation: SignalView[float] = Field(description="Of the SMs, busy")
    tensor_utilisation: SignalView[float] = Field(description="Of the time, the tensor cores worked")
    bandwidth_utilisation: SignalView[float] = Field(description="Of the memory's bandwidth, used")
    memory_used_bytes: SignalView[int]
    memory_total_bytes: SignalView[int]
    power_w: SignalView[float]
    temperature_c: SignalView[int]
    sm_clock_mhz: SignalView[int]
    throttle_reasons: SignalView[list[str]] = Field(description="What holds the clocks down")
    ecc_uncorrected: SignalView[int] = Field(description="Since the driver was loaded")
    last_xid: SignalView[int] = Field(description="Last XID error since NVML was first asked; 0: none")
    processes: SignalView[list[ProcessView]]
    mig_enabled: SignalView[bool]
    mig_pending: SignalView[bool] = Field(description="Whether MIG is on after the next reset")
    slices: SignalView[list[SliceView]] = Field(description="Empty where MIG is off")


def gpus_view(gpus: Signal[tuple[GpuReading, ...]], fleet: Fleet, now: float) -> SignalView[list[GpuView]]:
    """All GPUs, with the servers of the fleet that use them."""
    servers = ProcessServers(fleet)
    return SignalView[list[GpuView]].of(part(gpus, [_gpu(gpu, servers, now) for gpu in last_value(gpus) or ()]), now)


def _gpu(gpu: GpuReading, servers: ProcessServers, now: float) -> GpuView:
    reasons = last_value(gpu.throttle_reasons)
    processes = [_process(gpu, process, servers, now) for process in last_value(gpu.processes) or ()]
    slices = [_slice(gpu.slices, piece, now) for piece in last_value(gpu.slices) or ()]
    return GpuView(
        node=gpu.node,
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        utilisation=SignalView[float].of(gpu.utilisation, now),
        sm_utilisation=SignalView[float].of(gpu.sm_utilisation, now),
        tensor_utilisation=SignalView[float].of(gpu.tensor_utilisation, now),
        bandwidth_utilisation=SignalView[float].of(gpu.bandwidth_utilisation, now),
        memory_used_bytes=SignalView[int].of(gpu.memory_used_bytes, now),
        memory_total_bytes=SignalView[int].of(gpu.memory_total_bytes, now),
        power_w=SignalView[float].of(gpu.power_w, now),
        temperature_c=SignalView[int].of(gpu.temperature_c, now),
        sm_clock_mhz=SignalView[int].of(gpu.sm_clock_mhz, now),
        throttle_reasons=SignalView[list[str]].of(part(gpu.throttle_reasons, list(reasons or ())), now),
        ecc_uncorrected=SignalView[int].of(gpu.ecc_uncorrected, now),
        last_xid=SignalView[int].of(gpu.last_xid, now),
        processes=SignalView[list[ProcessView]].of(part(gpu.processes, processes), now),
        mig_enabled=SignalView[bool].of(gpu.mig_enabled, now),
        mig_pending=SignalView[bool].of(gpu.mig_pending, now),
        slices=SignalView[list[SliceView]].of(part(gpu.slices, slices), now),
    )


def _process(gpu: GpuReading, process: GpuProcess, servers: ProcessServers, now: float) -> ProcessView:
    of, ports = gpu.processes, process.ports
    listening = ports if isinstance(ports, Missing) else part(ports, list(ports.value))
    return ProcessView(
        pid=process.pid,
        slice=process.slice_uuid,
        memory_used_bytes=SignalView[int].of(within(of, process.memory_used_bytes), now),
        server=SignalView[str].of(within(of, servers.server_of(process, gpu.node)), now),
        ports=SignalView[list[int]].of(within(of, listening), now),
        pod_uid=SignalView[str].of(within(of, process.pod_uid), now),
    )


def _slice(of: Signal[tuple[SliceReading, ...]], piece: SliceReading, now: float) -> SliceView:
    return SliceView(
        uuid=piece.uuid,
        gpu_instance=piece.gpu_instance,
        compute_instance=piece.compute_instance,
        profile=SignalView[str].of(within(of, piece.profile), now),
        utilisation=SignalView[float].of(within(of, piece.utilisation), now),
        sm_utilisation=SignalView[float].of(within(of, piece.sm_utilisation), now),
        tensor_utilisation=SignalView[float].of(within(of, piece.tensor_utilisation), now),
        bandwidth_utilisation=SignalView[float].of(within(of, piece.bandwidth_utilisation), now),
        memory_used_bytes=SignalView[int].of(within(of, piece.memory_used_bytes), now),
        memory_total_bytes=SignalView[int].of(within(of, piece.memory_total_bytes), now),
        placement=SignalView[PlacementView].of(within(of, _place(piece.placement)), now),
    )


def _place(placement: Signal[Placement]) -> Signal[PlacementView]:
    if isinstance(placement, Missing):
        return placement
    return part(placement, PlacementView(start=placement.value.start, size=placement.value.size))
