"""Which class of failure a server's message is, and faults that come without any message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from controlplane.act.failure_table import STATUS_CODES, STRANGER, TABLE, UNKNOWN_REMEDY, Row
from controlplane.domain.errors import ActionError, TargetUnreachableError
from controlplane.domain.failures import FailureClass

# backends that read optimization.execution_accelerators (triton onnxruntime_backend and tensorflow_backend)
_ACCELERATED_BACKENDS = frozenset({"onnxruntime", "tensorflow"})
_ENOUGH_EXECUTIONS = 100
_MAY_PASS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class SilentFault:
    """Something that does not do what the configuration says, though the server reports no error."""

    failure: FailureClass
    what: str
    remedy: str


def classify(message: str, code: str = "", *, table: Sequence[Row] = TABLE) -> tuple[FailureClass, str]:
    """The class of a load, update or inference error and what to do about it.

    `table` is that of the serving software, Triton's by default. `code` is the status of gRPC ("UNAVAILABLE" or
    "StatusCode.UNAVAILABLE") or HTTP ("403") if there was one; it only decides when the message is not in the table.
    """
    for row in table:
        if row.pattern.search(message):
            return row.failure, row.remedy
    return STATUS_CODES.get(code.rpartition(".")[2], (FailureClass.UNKNOWN, UNKNOWN_REMEDY))


def answer_of(target: str, url: str, status: int, text: str, *, table: Sequence[Row] = TABLE) -> dict[str, Any]:
    """The JSON object of an answer of a server that tells errors as {"error": ...}.

    Any other answer is that of a proxy or of something else at its address: raises TargetUnreachableError where it may
    pass (5xx, 408, 425, 429), and ActionError with class and remedy otherwise, as for what the server refuses.
    """
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict):
        if status == HTTPStatus.OK:
            return told
        if message := told.get("error"):
            raise ActionError(str(message), *classify(str(message), str(status), table=table))
    message = f"{url} answered HTTP {status}, no answer of the server itself"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _MAY_PASS:
        raise TargetUnreachableError(target, message)
    raise ActionError(message, *classify(message, table=STRANGER))


def silent_faults(config: Mapping[str, Any], stats: Mapping[str, Any] | None = None) -> tuple[SilentFault, ...]:
    """Faults of a loaded model that Triton accepts without a word.

    `config` is the answer of GET /v2/models/M/config, `stats` one entry of `model_stats` of GET /v2/models/M/stats.
    """
    found = []
    max_batch_size = int(config.get("max_batch_size", 0))
    if "dynamic_batching" in config and max_batch_size <= 1:
        found.append(
            SilentFault(
                FailureClass.DYNAMIC_BATCHING_OFF,
                f"dynamic_batching is configured, but max_batch_size is {max_batch_size}: every request runs alone",
                "set max_batch_size to 2 or more (the model must take a batch dimension), or remove dynamic_batching",
            )
        )
    elif "dynamic_batching" not in config and max_batch_size > 1 and stats is not None and _runs_alone(stats):
        found.append(
            SilentFault(
                FailureClass.DYNAMIC_BATCHING_OFF,
                f"requests wait longer than they are computed and each runs alone, though max_batch_size is"
                f" {max_batch_size}: dynamic_batching is not configured",
                "add dynamic_batching { } to config.pbtxt",
            )
        )
    backend = str(config.get("backend", ""))
    if _asks_for_tensorrt(config) and backend not in _ACCELERATED_BACKENDS:
        found.append(
            SilentFault(
                FailureClass.ACCELERATION_FAILED,
                f"the TensorRT accelerator is configured, but the {backend or 'unnamed'} backend ignores it",
                "remove optimization.execution_accelerators, or serve the model as ONNX or as a TensorRT plan",
            )
        )
    return tuple(found)


def _runs_alone(stats: Mapping[str, Any]) -> bool:
    """Whether, with requests waiting, every execution had a single item."""
    executions = int(stats.get("execution_count", 0))
    by_kind = stats.get("inference_stats", {})
    queue_ns, compute_ns = (int(by_kind.get(kind, {}).get("ns", 0)) for kind in ("queue", "compute_infer"))
    alone = executions == int(stats.get("inference_count", 0))
    return alone and executions >= _ENOUGH_EXECUTIONS and queue_ns > compute_ns


def _asks_for_tensorrt(config: Mapping[str, Any]) -> bool:
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    return any(str(a.get("name")) == "tensorrt" for a in accelerators.get("gpu_execution_accelerator") or ())
