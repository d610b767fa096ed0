"""GPU readings as NVML gives them, dated 50."""

from __future__ import annotations

from controlplane.collect.gpu.gpus import unread_gpu
from controlplane.domain.gpu import GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.signal import Known, Missing

AT = 50.0
POD = "0e3f6c1a-7d52-4f0e-9a51-3c8b1de2aa01"
DENIED = Missing('no permission to "ask"\nthe driver')

WHOLE = GpuReading(
    uuid="GPU-aaaa",
    index=0,
    name="NVIDIA H200",
    utilisation=Known(0.37, AT),
    memory_used_bytes=Known(1073741824, AT),
    memory_total_bytes=Known(150000000001, AT),
    power_w=Known(250.5, AT),
    mig_enabled=Known(value=False, observed_at=AT),
    mig_pending=Known(value=True, observed_at=AT),
    temperature_c=Known(41, AT),
    sm_clock_mhz=Known(1980, AT),
    throttle_reasons=Known(("sw_power_cap", "hw_thermal"), AT),
    ecc_uncorrected=Known(2, AT),
    last_xid=Known(79, AT),
    processes=Known(
        (
            GpuProcess(4242, Known(1048576, AT), "", Known((8001, 8000), AT), Known("", AT)),
            GpuProcess(4243, Missing("the driver does not tell it"), "", Missing("denied"), Known(POD, AT)),
        ),
        AT,
    ),
    slices=Known((), AT),
    sm_utilisation=Known(0.25, AT),
    tensor_utilisation=Known(0.125, AT),
    bandwidth_utilisation=Known(0.5, AT),
)
CUT = GpuReading(
    uuid="GPU-bbbb",
    index=1,
    name="NVIDIA H200",
    utilisation=Missing("not told while MIG is on"),
    memory_used_bytes=Known(0, AT),
    memory_total_bytes=Known(150000000000, AT),
    power_w=DENIED,
    mig_enabled=Known(value=True, observed_at=AT),
    mig_pending=Known(value=True, observed_at=AT),
    temperature_c=Known(40, AT),
    sm_clock_mhz=Known(345, AT),
    throttle_reasons=Known((), AT),
    ecc_uncorrected=Known(0, AT),
    last_xid=Known(0, AT),
    processes=Known((GpuProcess(77, Known(1000, AT), "MIG-0000", Known((), AT), Missing("gone")),), AT),
    sm_utilisation=Missing("not told while MIG is on"),
    tensor_utilisation=Missing("not told while MIG is on"),
    bandwidth_utilisation=Missing("not told while MIG is on"),
    slices=Known(
        (
            SliceReading(
                "MIG-0000",
                2,
                0,
                Known("3g.71gb", AT),
                Known(1000, AT),
                Known(76 * 10**9, AT),
                Known(Placement(0, 4), AT),
                Known(0.9, AT),
                Known(0.8, AT),
                Known(0.0, AT),
                Known(0.1, AT),
            ),
            SliceReading(
                "MIG-3333",
                9,
                None,
                Missing("untold"),
                Known(0, AT),
                Missing("the GPU is lost"),
                DENIED,
                *[Missing("told from the second reading on")] * 4,
            ),
        ),
        AT,
    ),
)
LOST = unread_gpu("", 2, "", Missing("the GPU is lost"))
