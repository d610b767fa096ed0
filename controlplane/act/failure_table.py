"""The failure table: what a server's message looks like, which class of failure it is, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.domain.failures import FailureClass


@dataclass(frozen=True, slots=True)
class Row:
    """Messages in which `pattern` is found belong to `failure`; `example` is a real one, shortened."""

    pattern: re.Pattern[str]
    failure: FailureClass
    remedy: str
    example: str


def row(pattern: str, failure: FailureClass, remedy: str, example: str) -> Row:
    """A row from its pattern as text."""
    return Row(re.compile(pattern), failure, remedy, example)


NOT_FOUND_REMEDY = "put the model's folder into the server's model repository, or correct the name in the configuration"
UNREACHABLE_REMEDY = "check that the server runs and that its address in the configuration is right"
LOAD_TIMEOUT_REMEDY = "the server goes on by itself: the next reading shows what came of it; make loading quicker"
UNLOAD_TIMEOUT_REMEDY = (
    "a request in flight or a dead stub holds it; loading it again works at once, its memory may only come back with a "
    "restart of the server"
)
UNKNOWN_REMEDY = "read the server's log around this time"

_MEMORY = (
    "fewer instances or a smaller batch, unload idle models, limit the arena (ONNX Runtime: gpu_mem_limit); restart"
    " the server when memory is fragmented or leaked"
)
_QUEUE = "raise instances, or the model's default_timeout_microseconds and max_queue_size"
_TRT_ENGINE = "rebuild the plan with the TensorRT version and on the GPU type of this server"
_LOAD_IT = "load the model; it is not loaded or just being unloaded"
_BAD_CONFIG = "correct the model's config.pbtxt or the override"
_SHM = (
    "re-register regions after a server restart, unregister stale ones; client and server on one host with --ipc=host"
)
_REQUEST = "the client sends what the model does not take: compare with GET /v2/models/MODEL"

C = FailureClass

_NO_ACCESS = (
    C.CONTROL_NOT_ALLOWED,
    (
        "it, or what stands before it, asks for credentials, and the control plane has none for it: let it through, or"
        " name an address that asks for none"
    ),
)
STRANGER: tuple[Row, ...] = (
    row(
        r"answered HTTP (401|403|407), no answer of",
        *_NO_ACCESS,
        "http://triton:8000/v2/models/m/config answered HTTP 403, no answer of the server itself",
    ),
    row(
        r"answered HTTP \d+, no answer of",
        C.INVALID_CONFIGURATION,
        "something else than the server answers there: correct its address in the configuration; no redirect is"
        " followed",
        "http://triton:8000/v2/models/m/config answered HTTP 404, no answer of the server itself",
    ),
)
"""Answers that are not the server's own, see `answer_of`."""

TABLE: tuple[Row, ...] = (
    row(
        r"explicit model load / unload is not allowed",
        C.CONTROL_NOT_ALLOWED,
        "start Triton with --model-control-mode=explicit; until then this server is only observed",
        "explicit model load / unload is not allowed if polling is enabled",
    ),
    row(
        r"is restricted, expecting header",
        C.CONTROL_NOT_ALLOWED,
        "the control plane sends no such header: start Triton without --grpc-restricted-protocol and"
        " --http-restricted-api for model-repository, model-config, statistics and health, and let the network see to"
        " who may ask",
        "This protocol is restricted, expecting header 'triton-grpc-protocol-admin-key'",
    ),
    row(
        r"Newer operation has been applied to the model lifecycle",
        C.SUPERSEDED,
        "nothing: somebody gave a newer instruction; let one controller own the model",
        "Newer operation has been applied to the model lifecycle, current load operation is out-dated.",
    ),
    row(
        r"CUDA out of memory|Cuda Runtime \(out of memory\)|CUDA failure 2: out of memory"
        r"|Failed to allocate CUDA memory|bfc_arena.*Failed to allocate memory"
        r"|CUDA error: out of memory|cudaErrorMemoryAllocation",
        C.OUT_OF_MEMORY,
        _MEMORY,
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    ),
    row(
        r"--shm-size|run out of shared memory",
        C.SHARED_MEMORY,
        "give the container more /dev/shm (docker --shm-size, Kubernetes emptyDir with medium Memory): each python"
        " instance takes its own region; or lower --backend-config=python,shm-default-byte-size",
        "Failed to increase the shared memory pool size for key 'r' to 67108864 bytes. If you are running Triton inside"
        " docker, use '--shm-size' flag to control the shared memory region size. Error: No space left on device",
    ),
    row(
        r"shared memory region",
        C.SHARED_MEMORY,
        _SHM,
        "Unable to open shared memory region: '/k'",
    ),
    row(
        r"unknown Execution Accelerator|is provided for TensorRT Execution Accelerator",
        C.ACCELERATION_FAILED,
        "this server's backend lacks the accelerator or its parameter: correct config.pbtxt, or use another image",
        "unknown Execution Accelerator 'tensorrt' is requested",
    ),
    row(
        r"TensorRT EP|TensorrtExecutionProvider",
        C.ACCELERATION_FAILED,
        "read the server's log for the operator that TensorRT refused; without the accelerator the model runs on CUDA",
        "onnx runtime error 11: TensorRT EP could not build Engine for fused node",
    ),
    row(
        r"Version tag does not match|unable to create TensorRT (engine|context)|unable to load plan file",
        C.BACKEND,
        _TRT_ENGINE,
        "Version tag does not match. Note: Current Version: 43, Serialized Engine Version: 0",
    ),
    row(
        r"unable to find backend library",
        C.BACKEND,
        "use a server image that has this backend, or correct `backend` in config.pbtxt",
        "unable to find backend library for backend 'x', try specifying runtime on the model configuration.",
    ),
    row(
        r"Stub process .* is not healthy",
        C.BACKEND,
        "the python stub died: reload the model (a plain load does not heal it); its reason is in the server's log",
        "Stub process 'm_0_0' is not healthy.",
    ),
    row(
        r"ModuleNotFoundError|ImportError",
        C.BACKEND,
        "install the Python package in the server's environment, or name one with EXECUTION_ENV_PATH",
        "ModuleNotFoundError: No module named 'numpy'",
    ),
    row(
        r"version \d+ is not found|version \d+ is not at ready state",
        C.VERSION_NOT_AVAILABLE,
        "ask for a version that is loaded, or let the version policy load this one",
        "Request for unknown model: 'm' version 7 is not found",
    ),
    row(
        r"at least one version must be available under the version policy",
        C.VERSION_NOT_AVAILABLE,
        "put a numbered version folder into the repository, or correct version_policy",
        "at least one version must be available under the version policy of model 'm'",
    ),
    row(
        r"has no available versions|requested model .* is not available",
        C.MODEL_NOT_FOUND,
        _LOAD_IT,
        "Request for unknown model: 'm' has no available versions",
    ),
    row(
        r"Request for unknown model|failed to poll model repository",
        C.MODEL_NOT_FOUND,
        f"load the model, or {NOT_FOUND_REMEDY}",
        "Request for unknown model: 'm' is not found",
    ),
    row(
        r"hints that batching is unavailable",
        C.DYNAMIC_BATCHING_OFF,
        "export the model with a dynamic batch dimension, then set max_batch_size and dynamic_batching",
        "The specified dimensions in model m config hints that batching is unavailable",
    ),
    row(
        r"failed to poll from model repository",
        C.INVALID_CONFIGURATION,
        "the true reason stands only in the server's log: look for `Poll failed for model directory`",
        "failed to load 'm', failed to poll from model repository",
    ),
    row(
        r"has kind KIND_GPU but no GPUs are available|specifies invalid or unsupported gpu id",
        C.INVALID_CONFIGURATION,
        "let instance_group name GPUs that this server sees, or KIND_CPU",
        "instance group m_0 of model m has kind KIND_GPU but no GPUs are available",
    ),
    row(
        r"Poll failed for model directory|Invalid config override|Cannot find field|unexpected directory name"
        r"|preferred size must be|dimension must be integer|unexpected error on creating Triton parameter",
        C.INVALID_CONFIGURATION,
        _BAD_CONFIG,
        "Invalid config override: foo: Cannot find field.",
    ),
    row(
        r"unexpected shape for input|data-type is .* but model .* expects|unexpected inference input"
        r"|expected \d+ inputs but got|batch-size must be <=|Shape does not match true shape"
        r"|does not match size of output",
        C.SHAPE_MISMATCH,
        _REQUEST,
        "unexpected shape for input 'X' for model 'm'. Expected [-1,4], got [1,5]",
    ),
    row(
        r"Request timeout expired|Exceeds maximum queue size",
        C.TIMEOUT,
        _QUEUE,
        "Request timeout expired",
    ),
    row(
        r"Deadline Exceeded",
        C.TIMEOUT,
        "raise instances or the client's timeout",
        "Deadline Exceeded",
    ),
    row(
        r"failed to connect|Connection re(fused|set)|Socket closed|Cannot connect to host|DNS resolution failed"
        r"|Server disconnected|GOAWAY|No route to host",
        C.UNREACHABLE,
        UNREACHABLE_REMEDY,
        "failed to connect to all addresses; last error: Connection refused",
    ),
    row(
        r"onnx runtime error \d+",
        C.BACKEND,
        "read ONNX Runtime's message: the model file, its opset or an operator does not suit this server",
        "onnx runtime error 2: not enough space: expected 270080, got 0",
    ),
    row(
        r"\bAt:\s+/.*\.py\(\d+\)",
        C.BACKEND,
        "the model's own Python code raised: correct it at the line named",
        "ValueError: negative input\n\nAt:\n  /models/m/1/model.py(43): execute",
    ),
    *STRANGER,
)
"""The first row that matches decides, so that a reason inside a longer message goes before the message around it."""

STATUS_CODES = {
    "UNAVAILABLE": (C.UNREACHABLE, UNREACHABLE_REMEDY),
    "DEADLINE_EXCEEDED": (C.TIMEOUT, "raise instances or the client's timeout"),
    "NOT_FOUND": (C.MODEL_NOT_FOUND, NOT_FOUND_REMEDY),
    **dict.fromkeys(("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403", "407"), _NO_ACCESS),
}
"""What a status of gRPC or HTTP says when no row matches the message."""
