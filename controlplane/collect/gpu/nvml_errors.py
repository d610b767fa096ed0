"""What NVML refuses, in words."""

from __future__ import annotations

import pynvml

NOT_SUPPORTED = "not supported by this GPU"
_WHY = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver on this machine (libnvidia-ml.so.1 not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "no permission to ask the NVIDIA driver",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "NVML and the NVIDIA kernel module are of different versions",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the NVIDIA driver is too old to tell it",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU is lost",
    pynvml.NVML_ERROR_NOT_SUPPORTED: NOT_SUPPORTED,
}


def why(error: pynvml.NVMLError) -> str:
    """An error of NVML in words."""
    return _WHY.get(error.value, f"NVML: {error}")
