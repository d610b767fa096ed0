"""GPUs of another machine, from the page of its agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from controlplane.collect.exposition import Labels, parse
from controlplane.collect.gpus import Gpus, aged_gpus
from controlplane.collect.http import Pages
from controlplane.collect.nvml_gpu import NO_PROCESS_MEMORY
from controlplane.domain import names
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import AgentSpec
from controlplane.domain.observation import THROTTLE_REASONS, GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.signal import Known, Missing, Signal

T = TypeVar("T")

_FIGURES: Mapping[str, tuple[str, Callable[[float], Any]]] = {
    "utilisation": (names.GPU_UTILISATION, float),
    "memory_used_bytes": (names.GPU_MEMORY_USED, int),
    "memory_total_bytes": (names.GPU_MEMORY_TOTAL, int),
    "power_w": (names.GPU_POWER, float),
    "mig_enabled": (names.GPU_MIG_ENABLED, bool),
    "temperature_c": (names.GPU_TEMPERATURE, int),
    "sm_clock_mhz": (names.GPU_SM_CLOCK, lambda hertz: round(hertz / 1e6)),
    "ecc_uncorrected": (f"{names.GPU_ECC_UNCORRECTED}_total", int),
    "last_xid": (names.GPU_LAST_XID, int),
}
"""Field of a GpuReading -> series with one sample for a GPU, and the value in the field's unit."""
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
        names.GPU_SLICE_MEMORY_USED,
        names.GPU_SLICE_MEMORY_TOTAL,
        names.GPU_MISSING,
        *(series for series, _ in _FIGURES.values()),
    }
)


class AgentTarget:
    """One agent. While its page cannot be read its GPUs are those of the last one, until they are stale."""

    def __init__(self, spec: AgentSpec, *, max_age_s: float) -> None:
        self.spec = spec
        self._max_age_s = max_age_s
        self._gpus: Gpus = Missing("never read")
        self._why = ""

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing page."""
        try:
            text = await pages.get_text(f"agent {self.spec.name}", self.spec.url, timeout_s)
            self._gpus, self._why = gpus_of_page(text, self.spec.name, clock()), ""
        except (TargetUnreachableError, MalformedPageError) as error:
            self._why = error.why if isinstance(error, TargetUnreachableError) else str(error)
            if isinstance(self._gpus, Missing):
                self._gpus = Missing(self._why)
            return error
        return None

    def reading(self, now: float) -> Gpus:
        """Its GPUs as of the newest page, aged."""
        return aged_gpus(self._gpus, now, self._max_age_s, self._why)


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
        return Known(tuple(_Rows(page, labels, node, at).gpu() for labels, _ in page.get(names.GPU_INFO, ())), at)
    except (KeyError, ValueError, OverflowError) as error:
        raise MalformedPageError(
            f"agent {node}: a sample on its page lacks something or is no number: {error}"
        ) from None


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one GPU, whose info row has the labels `info`."""

    page: Mapping[str, list[tuple[Labels, float]]]
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
        wanted = {names.GPU: self.info[names.GPU], **labels}
        for row, value in self.page.get(series, ()):
            if all(row.get(key, "") == text for key, text in wanted.items()):
                yield row, value

    def _missing(self, signal: str, piece: str = "") -> Missing:
        for row, _ in self._rows(names.GPU_MISSING, slice=piece, signal=signal):
            return Missing(row.get(names.REASON, ""))
        return Missing("not on the agent's page")

    def _figure(self, signal: str, series: str, unit: Callable[[float], T], piece: str = "") -> Signal[T]:
        for _, value in self._rows(series, slice=piece):
            return Known(unit(value), self.at)
        return self._missing(signal, piece)

    def _throttle_reasons(self) -> Signal[tuple[str, ...]]:
        told = {row[names.REASON]: bool(value) for row, value in self._rows(names.GPU_THROTTLED)}
        if not told:
            return self._missing("throttle_reasons")
        return Known(tuple(reason for reason in (*THROTTLE_REASONS, *told) if told.pop(reason, False)), self.at)

    def _list(self, signal: str, count: str, rows: Callable[[], Iterator[T]]) -> Signal[tuple[T, ...]]:
        """The count tells none from not known."""
        return Known(tuple(rows()), self.at) if any(self._rows(count)) else self._missing(signal)

    def _processes(self) -> Iterator[GpuProcess]:
        for row, _ in self._rows(names.GPU_PROCESS_INFO):
            piece, pid = row.get(names.SLICE, ""), row[names.PID]
            memory: Signal[int] = Missing(NO_PROCESS_MEMORY)
            for _, value in self._rows(names.GPU_PROCESS_MEMORY, slice=piece, pid=pid):
                memory = Known(int(value), self.at)
            yield GpuProcess(int(pid), memory, piece)

    def _slices(self) -> Iterator[SliceReading]:
        for row, _ in self._rows(names.GPU_SLICE_INFO):
            uuid, profile, start = row[names.SLICE], row.get(names.PROFILE), row.get(names.START)
            yield SliceReading(
                uuid=uuid,
                gpu_instance=int(row[names.GPU_INSTANCE]),
                compute_instance=int(row[names.COMPUTE_INSTANCE]),
                profile=Known(profile, self.at) if profile else self._missing("profile", uuid),
                memory_used_bytes=self._figure("memory_used_bytes", names.GPU_SLICE_MEMORY_USED, int, uuid),
                memory_total_bytes=self._figure("memory_total_bytes", names.GPU_SLICE_MEMORY_TOTAL, int, uuid),
                placement=Known(Placement(int(start), int(row[names.SIZE])), self.at)
                if start
                else self._missing("placement", uuid),
            )
