"""The page of our agent, read back into GPU readings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from controlplane.collect.exposition import Labels, Page, parse
from controlplane.collect.gpu.gpus import Gpus
from controlplane.collect.gpu.nvml_gpu import NO_PROCESS_MEMORY
from controlplane.domain import names
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.gpu import THROTTLE_REASONS, GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.signal import Known, Missing, Signal

T = TypeVar("T")

NOT_ON_PAGE = "not on the agent's page"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no figure")
    return value


def _yes(value: float) -> bool:
    return bool(_finite(value))


_FIGURES: Mapping[str, tuple[str, Callable[[float], Any]]] = {
    "utilisation": (names.GPU_UTILISATION, _finite),
    "sm_utilisation": (names.GPU_SM_UTILISATION, _finite),
    "tensor_utilisation": (names.GPU_TENSOR_UTILISATION, _finite),
    "bandwidth_utilisation": (names.GPU_BANDWIDTH_UTILISATION, _finite),
    "memory_used_bytes": (names.GPU_MEMORY_USED, int),
    "memory_total_bytes": (names.GPU_MEMORY_TOTAL, int),
    "power_w": (names.GPU_POWER, _finite),
    "mig_enabled": (names.GPU_MIG_ENABLED, _yes),
    "mig_pending": (names.GPU_MIG_PENDING, _yes),
    "temperature_c": (names.GPU_TEMPERATURE, int),
    "sm_clock_mhz": (names.GPU_SM_CLOCK, lambda hertz: round(_finite(hertz) / 1e6)),
    "ecc_uncorrected": (f"{names.GPU_ECC_UNCORRECTED}_total", int),
    "last_xid": (names.GPU_LAST_XID, int),
}
"""Field of a GpuReading -> series with one sample for a GPU, and the value in the field's unit."""
_SLICE_FIGURES: Mapping[str, tuple[str, Callable[[float], Any]]] = {
    "memory_used_bytes": (names.GPU_SLICE_MEMORY_USED, int),
    "memory_total_bytes": (names.GPU_SLICE_MEMORY_TOTAL, int),
    "utilisation": (names.GPU_SLICE_UTILISATION, _finite),
    "sm_utilisation": (names.GPU_SLICE_SM_UTILISATION, _finite),
    "tensor_utilisation": (names.GPU_SLICE_TENSOR_UTILISATION, _finite),
    "bandwidth_utilisation": (names.GPU_SLICE_BANDWIDTH_UTILISATION, _finite),
}
"""The same of a SliceReading."""
_WANTED = frozenset(
    {
        names.AGENT_NVML_UP,
        names.GPU_INFO,
        names.GPU_THROTTLED,
        names.GPU_PROCESSES,
        names.GPU_PROCESS_INFO,
        names.GPU_PROCESS_MEMORY,
        names.GPU_SLICES,
        names.GPU_SLICE_INFO,
        names.GPU_MISSING,
        *(series for series, _ in (*_FIGURES.values(), *_SLICE_FIGURES.values())),
    }
)


def gpus_of_page(text: str, node: str, at: float) -> Gpus:
    """The GPUs on an agent's page, of the node of that name, dated `at`; missing where NVML did not answer there.

    Raises MalformedPageError.
    """
    page = parse(text, _WANTED)
    up = page.get(names.AGENT_NVML_UP)
    if not up:
        raise MalformedPageError(f"agent {node}: its page has no {names.AGENT_NVML_UP}")
    labels, value = up[0]
    if not value:
        return Missing(labels.get(names.REASON) or "NVML does not answer there")
    try:
        return Known(tuple(rows.gpu() for rows in _by_gpu(page, node, at)), at)
    except (KeyError, ValueError, OverflowError) as error:
        raise MalformedPageError(
            f"agent {node}: a sample on its page lacks something or is no number: {error}"
        ) from None


def _by_gpu(page: Page, node: str, at: float) -> Iterator[_Rows]:
    of_gpu: dict[str, dict[str, list[tuple[Labels, float]]]] = {}
    for series, rows in page.items():
        for labels, value in rows:
            of_gpu.setdefault(labels.get(names.GPU, ""), {}).setdefault(series, []).append((labels, value))
    for info, _ in page.get(names.GPU_INFO, ()):
        yield _Rows(of_gpu[info[names.GPU]], info, node, at)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one GPU, whose info row has the labels `info`."""

    page: Page
    info: Labels
    node: str
    at: float

    def gpu(self) -> GpuReading:
        label, index = self.info[names.GPU], int(self.info[names.INDEX])
        figures: dict[str, Any] = {
            field: self._figure(field, series, unit) for field, (series, unit) in _FIGURES.items()
        }
        return GpuReading(
            uuid="" if label == f"gpu{index}" else label,
            index=index,
            name=self.info[names.NAME],
            node=self.node,
            throttle_reasons=self._throttle_reasons(),
            processes=self._list("processes", names.GPU_PROCESSES, self._processes),
            slices=self._list("slices", names.GPU_SLICES, self._slices),
            **figures,
        )

    def _rows(self, series: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        for row, value in self.page.get(series, ()):
            if all(row.get(key, "") == text for key, text in labels.items()):
                yield row, value

    def _missing(self, signal: str, piece: str = "") -> Missing:
        for row, _ in self._rows(names.GPU_MISSING, slice=piece, signal=signal):
            return Missing(row.get(names.REASON, ""))
        return Missing(NOT_ON_PAGE)

    def _figure(self, signal: str, series: str, unit: Callable[[float], T], piece: str = "") -> Signal[T]:
        for _, value in self._rows(series, slice=piece):
            return Known(unit(value), self.at)
        return self._missing(signal, piece)

    def _throttle_reasons(self) -> Signal[tuple[str, ...]]:
        told = {row[names.REASON]: _yes(value) for row, value in self._rows(names.GPU_THROTTLED)}
        if not told:
            return self._missing("throttle_reasons")
        return Known(tuple(reason for reason in (*THROTTLE_REASONS, *told) if told.pop(reason, False)), self.at)

    def _list(self, signal: str, count: str, rows: Callable[[], Iterator[T]]) -> Signal[tuple[T, ...]]:
        """The count tells none from not known."""
        return Known(tuple(rows()), self.at) if any(self._rows(count)) else self._missing(signal)

    def _processes(self) -> Iterator[GpuProcess]:
        for row, _ in self._rows(names.GPU_PROCESS_INFO):
            piece, pid = row.get(names.SLICE, ""), int(row[names.PID])
            memory: Signal[int] = Missing(NO_PROCESS_MEMORY)
            for _, value in self._rows(names.GPU_PROCESS_MEMORY, slice=piece, pid=str(pid)):
                memory = Known(int(value), self.at)
            ports, pod = self._origin(row, names.PORTS, _ports), self._origin(row, names.POD_UID, str)
            yield GpuProcess(pid, memory, piece, ports, pod)

    def _origin(self, row: Labels, label: str, read: Callable[[str], T]) -> Signal[T]:
        """The label, unless it is empty because it is not known or is not there at all."""
        signal, piece = names.of_process(label, int(row[names.PID])), row.get(names.SLICE, "")
        for missing, _ in self._rows(names.GPU_MISSING, slice=piece, signal=signal):
            return Missing(missing.get(names.REASON, ""))
        return Known(read(row[label]), self.at) if label in row else Missing(NOT_ON_PAGE)

    def _slices(self) -> Iterator[SliceReading]:
        for row, _ in self._rows(names.GPU_SLICE_INFO):
            uuid, profile, start = row[names.SLICE], row.get(names.PROFILE), row.get(names.START)
            instance = row[names.COMPUTE_INSTANCE]
            figures: dict[str, Any] = {
                field: self._figure(field, series, unit, uuid) for field, (series, unit) in _SLICE_FIGURES.items()
            }
            yield SliceReading(
                uuid=uuid,
                gpu_instance=int(row[names.GPU_INSTANCE]),
                compute_instance=int(instance) if instance else None,
                profile=Known(profile, self.at) if profile else self._missing("profile", uuid),
                placement=Known(Placement(int(start), int(row[names.SIZE])), self.at)
                if start
                else self._missing("placement", uuid),
                **figures,
            )


def _ports(text: str) -> tuple[int, ...]:
    return tuple(int(port) for port in text.split(",") if port)
