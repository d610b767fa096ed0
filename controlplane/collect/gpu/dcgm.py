"""GPUs of another machine, from the page of NVIDIA's dcgm-exporter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from controlplane.collect.exposition import Labels, parse
from controlplane.collect.gpu import dcgm_fields as dcgm
from controlplane.collect.gpu.gpm import fraction
from controlplane.collect.gpu.gpus import Gpus
from controlplane.collect.gpu.nvml_gpu import UNDER_MIG, throttle_reasons_of
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.gpu import GpuReading, SliceReading
from controlplane.domain.signal import Known, Missing, Signal

T = TypeVar("T")

NEVER_TOLD = "DCGM's exporter does not tell it"
NO_VALUE = "DCGM has no value for it"
NO_SLICE = f"no slice and no {dcgm.MIG_MODE} on the exporter's page"
_MIB = 2**20


def gpus_of_dcgm(text: str, node: str, at: float) -> Gpus:
    """The GPUs on an exporter's page, of the node of that name, dated `at`. Raises MalformedPageError."""
    devices: dict[str, _Device] = {}
    for series, rows in parse(text, dcgm.WANTED).items():
        for labels, value in rows:
            try:
                uuid = labels[dcgm.UUID]
                device = devices.setdefault(uuid, _Device(node, uuid, int(labels[dcgm.GPU]), labels, _Samples(at)))
                device.samples(labels).values[series] = value
            except (KeyError, ValueError) as error:
                raise MalformedPageError(f"agent {node}: a sample of {series} has no proper labels: {error}") from None
    if not devices:
        raise MalformedPageError(f"agent {node}: its page tells no GPU as dcgm-exporter does")
    return Known(tuple(device.reading() for device in sorted(devices.values(), key=lambda device: device.index)), at)


@dataclass(frozen=True, slots=True)
class _Samples:
    """Values by series: of the whole GPU, or of one slice, whose `profile` is told."""

    at: float
    profile: str = ""
    values: dict[str, float] = field(default_factory=dict)

    def figure(self, series: str, unit: Callable[[float], T]) -> Signal[T]:
        value = self.values.get(series)
        if value is None:
            return Missing(f"{series} is not on the exporter's page")
        return Missing(NO_VALUE) if dcgm.blank(value) else Known(unit(value), self.at)

    def share(self, series: str) -> Signal[float]:
        found = self.figure(series, float)
        return fraction(found.value, self.at) if isinstance(found, Known) else found

    def memory_total(self) -> Signal[int]:
        """Without a total the sum of its parts, of which older exporters leave out what is reserved."""
        if dcgm.FB_TOTAL in self.values:
            return self.figure(dcgm.FB_TOTAL, _bytes)
        parts = [self.figure(series, _bytes) for series in (dcgm.FB_USED, dcgm.FB_FREE)]
        if dcgm.FB_RESERVED in self.values:
            parts.append(self.figure(dcgm.FB_RESERVED, _bytes))
        missing = next((part for part in parts if isinstance(part, Missing)), None)
        return missing or Known(sum(part.value for part in parts if isinstance(part, Known)), self.at)

    def utilisation(self) -> Signal[float]:
        if dcgm.GPU_UTIL in self.values:
            percent = self.figure(dcgm.GPU_UTIL, float)
            return fraction(percent.value / 100, self.at) if isinstance(percent, Known) else percent
        return self.share(dcgm.GR_ENGINE_ACTIVE)

    def throttle_reasons(self) -> Signal[tuple[str, ...]]:
        series = next((name for name in dcgm.CLOCK_REASONS if name in self.values), dcgm.CLOCK_REASONS[0])
        return self.figure(series, lambda bits: throttle_reasons_of(int(bits)))


@dataclass(frozen=True, slots=True)
class _Device:
    """One GPU: the samples of the whole of it, and those of its slices by GPU instance."""

    node: str
    uuid: str
    index: int
    labels: Labels
    whole: _Samples
    slices: dict[int, _Samples] = field(default_factory=dict)

    def samples(self, labels: Labels) -> _Samples:
        """Where the row with these labels belongs."""
        instance = labels.get(dcgm.INSTANCE)
        if not instance:
            return self.whole
        return self.slices.setdefault(int(instance), _Samples(self.whole.at, labels.get(dcgm.PROFILE, "")))

    def reading(self) -> GpuReading:
        own, cut = self.whole, bool(self.slices)
        # a cut GPU has rows of its slices only: those of power, clocks and errors hold for the whole
        shared = _Samples(own.at, "", {**next(iter(self.slices.values()), own).values, **own.values})
        mig = Known(value=True, observed_at=own.at) if cut else self._mig_mode()
        slices = Known(tuple(_slice(self.uuid, *entry) for entry in sorted(self.slices.items())), own.at)
        return GpuReading(
            uuid=self.uuid,
            index=self.index,
            name=self.labels.get(dcgm.MODEL_NAME, ""),
            node=self.node,
            utilisation=_of_whole(own.utilisation(), cut=cut),
            sm_utilisation=_of_whole(own.share(dcgm.SM_ACTIVE), cut=cut),
            tensor_utilisation=_of_whole(own.share(dcgm.TENSOR_ACTIVE), cut=cut),
            bandwidth_utilisation=_of_whole(own.share(dcgm.DRAM_ACTIVE), cut=cut),
            memory_used_bytes=_of_whole(own.figure(dcgm.FB_USED, _bytes), cut=cut),
            memory_total_bytes=_of_whole(own.memory_total(), cut=cut),
            power_w=shared.figure(dcgm.POWER, float),
            temperature_c=shared.figure(dcgm.TEMPERATURE, int),
            sm_clock_mhz=shared.figure(dcgm.SM_CLOCK, int),
            throttle_reasons=shared.throttle_reasons(),
            ecc_uncorrected=shared.figure(dcgm.ECC_DOUBLE_BIT, int),
            last_xid=shared.figure(dcgm.XID, int),
            processes=Missing(NEVER_TOLD),
            mig_enabled=mig,
            mig_pending=Missing(NEVER_TOLD),
            slices=slices if cut or (isinstance(mig, Known) and not mig.value) else Missing(NO_SLICE),
        )

    def _mig_mode(self) -> Signal[bool]:
        mode = self.whole.figure(dcgm.MIG_MODE, bool)
        return mode if isinstance(mode, Known) else Missing(NO_SLICE)


def _slice(gpu: str, instance: int, told: _Samples) -> SliceReading:
    return SliceReading(
        uuid=f"{gpu}/{instance}",
        gpu_instance=instance,
        compute_instance=None,
        profile=Known(told.profile, told.at) if told.profile else Missing(NO_VALUE),
        memory_used_bytes=told.figure(dcgm.FB_USED, _bytes),
        memory_total_bytes=told.memory_total(),
        placement=Missing(NEVER_TOLD),
        utilisation=told.share(dcgm.GR_ENGINE_ACTIVE),
        sm_utilisation=told.share(dcgm.SM_ACTIVE),
        tensor_utilisation=told.share(dcgm.TENSOR_ACTIVE),
        bandwidth_utilisation=told.share(dcgm.DRAM_ACTIVE),
    )


def _of_whole(signal: Signal[T], *, cut: bool) -> Signal[T]:
    return Missing(UNDER_MIG) if cut and isinstance(signal, Missing) else signal


def _bytes(mebibytes: float) -> int:
    return int(mebibytes * _MIB)
