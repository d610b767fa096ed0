"""Every metric and label of NVIDIA's dcgm-exporter that is read. Nowhere else is one spelled out.

Sources: github.com/NVIDIA/dcgm-exporter at 4.5.3-4.8.2 and d5e5f51, etc/default-counters.csv and
etc/dcp-metrics-included.csv (which fields are exported, their units), internal/pkg/rendermetrics (labels),
internal/pkg/collector (what is left out, as having no value); github.com/NVIDIA/DCGM, dcgmlib/dcgm_fields.h and
dcgm_structs.h (fields, units, blank values).
"""

from __future__ import annotations

import math

GPU = "gpu"
"""Index of the GPU."""
UUID = "UUID"
"""Always that of the whole GPU, of a MIG slice too."""
MODEL_NAME = "modelName"
PROFILE = "GPU_I_PROFILE"
"""Only on rows of a MIG slice. Up to 4.2 the gigabytes in it may differ from NVML's name (issue 544)."""
INSTANCE = "GPU_I_ID"
"""Number of the GPU instance as NVML has it, only on rows of a MIG slice. By default a cut GPU has no others."""

GPU_UTIL = "DCGM_FI_DEV_GPU_UTIL"
"""Per cent. Not told for MIG slices, or 0 for all of them (issues 105 and 216)."""
GR_ENGINE_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE"
"""Not exported by default. Fractions of time or cycles, these four."""
TENSOR_ACTIVE = "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"
DRAM_ACTIVE = "DCGM_FI_PROF_DRAM_ACTIVE"
FB_USED = "DCGM_FI_DEV_FB_USED"
"""MiB, these four; those of the slice on its rows. Used leaves out what is reserved."""
FB_FREE = "DCGM_FI_DEV_FB_FREE"
FB_RESERVED = "DCGM_FI_DEV_FB_RESERVED"
FB_TOTAL = "DCGM_FI_DEV_FB_TOTAL"
"""Not exported by default."""
POWER = "DCGM_FI_DEV_POWER_USAGE"
"""Watts. From here on a row of a slice tells what holds for the whole GPU."""
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
SM_CLOCK = "DCGM_FI_DEV_SM_CLOCK"
"""MHz."""
XID = "DCGM_FI_DEV_XID_ERRORS"
"""Number of the last one, 0: none."""
ECC_DOUBLE_BIT = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
"""Since the driver was loaded. Not exported by default, nor are those that follow."""
CLOCK_REASONS = ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS")
"""NVML's bits; new name first."""
MIG_MODE = "DCGM_FI_DEV_MIG_MODE"

WANTED = frozenset(
    {GPU_UTIL, GR_ENGINE_ACTIVE, SM_ACTIVE, TENSOR_ACTIVE, DRAM_ACTIVE, FB_USED, FB_FREE, FB_RESERVED, FB_TOTAL}
    | {POWER, TEMPERATURE, SM_CLOCK, XID, ECC_DOUBLE_BIT, *CLOCK_REASONS, MIG_MODE}
)

_INT32_BLANK = 0x7FFFFFF0
_DOUBLE_BLANK = 2.0**47


def blank(value: float) -> bool:
    """Whether it stands for no value: 32-bit, double and 64-bit blanks, each with its reasons right above it."""
    return not math.isfinite(value) or _INT32_BLANK <= value < _INT32_BLANK + 16 or value >= _DOUBLE_BLANK
