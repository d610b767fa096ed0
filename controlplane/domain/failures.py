"""The classes into which failures of model serving fall."""

from __future__ import annotations

from enum import StrEnum


class FailureClass(StrEnum):
    """Why a load, an update or inference failed. The first ten have a remedy of their own."""

    MODEL_NOT_FOUND = "model_not_found"
    INVALID_CONFIGURATION = "invalid_configuration"
    OUT_OF_MEMORY = "cuda_out_of_memory"
    TIMEOUT = "timeout"
    BACKEND = "backend"
    SHAPE_MISMATCH = "shape_mismatch"
    VERSION_NOT_AVAILABLE = "version_not_available"
    SHARED_MEMORY = "shared_memory"
    DYNAMIC_BATCHING_OFF = "dynamic_batching_off"
    ACCELERATION_FAILED = "tensorrt_acceleration_failed"
    CONTROL_NOT_ALLOWED = "model_control_not_allowed"
    SUPERSEDED = "superseded"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"

    @property
    def transient(self) -> bool:
        """Whether the same step may work a moment later, so that it is tried again at once and not decided afresh.

        A load that was not answered in time goes on by itself, and one that was refused will be refused again.
        """
        return self is FailureClass.UNREACHABLE
