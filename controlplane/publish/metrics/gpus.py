"""GPU readings as samples, the same on the control plane's page and on the agent's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.domain import names
from controlplane.domain.gpu import GPU_SIGNALS, SLICE_SIGNALS, THROTTLE_REASONS, GpuReading, SliceReading
from controlplane.domain.signal import Known, Missing, Signal, known
from controlplane.publish.metrics.families import AGENT_FAMILIES, Family

T = TypeVar("T")
Sample: TypeAlias = tuple[str, tuple[str, ...], float | None]
"""Family, label values, value; None: nothing to export."""


def family(of: Family) -> GaugeMetricFamily | CounterMetricFamily:
    """An empty family of prometheus_client."""
    made = GaugeMetricFamily if of.kind == "gauge" else CounterMetricFamily
    return made(of.name, of.help, labels=of.labels)


def gpu_label(gpu: GpuReading) -> str:
    """The UUID; of a GPU that never told it, `gpu` and its index."""
    return gpu.uuid or f"gpu{gpu.index}"


def gpu_samples(gpus: Iterable[GpuReading]) -> Iterator[Sample]:
    """Samples of GPU_FAMILIES. What is missing or stale has none."""
    for gpu in gpus:
        key = (gpu.node, gpu_label(gpu))
        yield names.GPU_INFO, (*key, str(gpu.index), gpu.name), 1.0
        clock, reasons = known(gpu.sm_clock_mhz), known(gpu.throttle_reasons)
        figures: dict[str, float | None] = {
            names.GPU_UTILISATION: known(gpu.utilisation),
            names.GPU_SM_UTILISATION: known(gpu.sm_utilisation),
            names.GPU_TENSOR_UTILISATION: known(gpu.tensor_utilisation),
            names.GPU_BANDWIDTH_UTILISATION: known(gpu.bandwidth_utilisation),
            names.GPU_MEMORY_USED: known(gpu.memory_used_bytes),
            names.GPU_MEMORY_TOTAL: known(gpu.memory_total_bytes),
            names.GPU_POWER: known(gpu.power_w),
            names.GPU_TEMPERATURE: known(gpu.temperature_c),
            names.GPU_SM_CLOCK: None if clock is None else clock * 1e6,
            names.GPU_ECC_UNCORRECTED: known(gpu.ecc_uncorrected),
            names.GPU_LAST_XID: known(gpu.last_xid),
            names.GPU_PROCESSES: _count(gpu.processes),
            names.GPU_MIG_ENABLED: known(gpu.mig_enabled),
            names.GPU_MIG_PENDING: known(gpu.mig_pending),
            names.GPU_SLICES: _count(gpu.slices),
        }
        for name, value in figures.items():
            yield name, key, value
        if reasons is not None:
            for reason in THROTTLE_REASONS:
                yield names.GPU_THROTTLED, (*key, reason), float(reason in reasons)
        for piece in known(gpu.slices) or ():
            yield from _slice_samples(key, piece)


def _slice_samples(key: tuple[str, str], piece: SliceReading) -> Iterator[Sample]:
    placed = known(piece.placement)
    place = ("", "") if placed is None else (str(placed.start), str(placed.size))
    instances = (str(piece.gpu_instance), "" if piece.compute_instance is None else str(piece.compute_instance))
    yield names.GPU_SLICE_INFO, (*key, piece.uuid, *instances, known(piece.profile) or "", *place), 1.0
    figures: dict[str, float | None] = {
        names.GPU_SLICE_UTILISATION: known(piece.utilisation),
        names.GPU_SLICE_SM_UTILISATION: known(piece.sm_utilisation),
        names.GPU_SLICE_TENSOR_UTILISATION: known(piece.tensor_utilisation),
        names.GPU_SLICE_BANDWIDTH_UTILISATION: known(piece.bandwidth_utilisation),
        names.GPU_SLICE_MEMORY_USED: known(piece.memory_used_bytes),
        names.GPU_SLICE_MEMORY_TOTAL: known(piece.memory_total_bytes),
    }
    for name, value in figures.items():
        yield name, (*key, piece.uuid), value


class GpuMetrics(Collector):
    """The agent's page of one round, with processes and with the reason of everything that is missing."""

    def __init__(self, gpus: Signal[tuple[GpuReading, ...]]) -> None:
        self._gpus = gpus

    def collect(self) -> Iterable[Metric]:
        """All families with their samples."""
        families = {of.name: family(of) for of in AGENT_FAMILIES}
        for name, labels, value in self._samples():
            if value is not None:
                families[name].add_metric(labels, value)
        return list(families.values())

    def _samples(self) -> Iterator[Sample]:
        if not isinstance(self._gpus, Known):
            yield names.AGENT_NVML_UP, (self._gpus.why,), 0.0
            return
        yield names.AGENT_NVML_UP, ("",), 1.0
        yield from gpu_samples(self._gpus.value)
        for gpu in self._gpus.value:
            yield from _process_samples(gpu)
            yield from _missing(gpu)


def _process_samples(gpu: GpuReading) -> Iterator[Sample]:
    for process in known(gpu.processes) or ():
        labels = (gpu.node, gpu_label(gpu), process.slice_uuid, str(process.pid))
        ports: tuple[int, ...] = known(process.ports) or ()
        yield names.GPU_PROCESS_INFO, (*labels, ",".join(map(str, ports)), known(process.pod_uid) or ""), 1.0
        yield names.GPU_PROCESS_MEMORY, labels, known(process.memory_used_bytes)


def _missing(gpu: GpuReading) -> Iterator[Sample]:
    signals: list[tuple[str, str, object]] = [("", name, getattr(gpu, name)) for name in GPU_SIGNALS]
    for piece in known(gpu.slices) or ():
        signals += [(piece.uuid, name, getattr(piece, name)) for name in SLICE_SIGNALS]
    for process in known(gpu.processes) or ():
        origins = ((names.PORTS, process.ports), (names.POD_UID, process.pod_uid))
        signals += [(process.slice_uuid, names.of_process(name, process.pid), signal) for name, signal in origins]
    for slice_uuid, name, signal in signals:
        if isinstance(signal, Missing):
            yield names.GPU_MISSING, (gpu.node, gpu_label(gpu), slice_uuid, name, signal.why), 1.0


def _count(signal: Signal[tuple[T, ...]]) -> float | None:
    found = known(signal)
    return None if found is None else float(len(found))
