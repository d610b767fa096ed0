from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.act.failure_table import TABLE, UNKNOWN_REMEDY, Row
from controlplane.act.failures import answer_of, classify, silent_faults
from controlplane.act.failures_page import failures_page
from controlplane.act.kubernetes.failures import KUBERNETES_TABLE
from controlplane.act.mig.operator.failures import OPERATOR_TABLE
from controlplane.act.ollama_failures import OLLAMA_TABLE
from controlplane.act.vllm_failures import VLLM_TABLE
from controlplane.domain.errors import ActionError, TargetUnreachableError
from controlplane.domain.failures import FailureClass as C

TABLES = (TABLE, VLLM_TABLE, OLLAMA_TABLE, KUBERNETES_TABLE, OPERATOR_TABLE)
REAL = [
    (entry["message"], C(entry["class"]), entry["remedy"])
    for entry in yaml.safe_load(Path(__file__).with_name("failure_messages.yaml").read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("message", "failure", "word"), REAL, ids=[text[:40] for text, _, _ in REAL])
def test_a_real_message_has_its_class_and_remedy(message: str, failure: C, word: str) -> None:
    found, remedy = classify(message)
    assert found is failure
    assert word in remedy


def test_every_row_of_the_table_decides_at_least_one_real_message() -> None:
    deciding = {next(row.pattern for row in TABLE if row.pattern.search(text)) for text, _, _ in REAL}
    assert deciding == {row.pattern for row in TABLE}


@pytest.mark.parametrize(
    ("table", "row"),
    [(table, row) for table in TABLES for row in table],
    ids=[row.example[:40] for table in TABLES for row in table],
)
def test_the_example_of_a_row_is_decided_by_that_row(table: tuple[Row, ...], row: Row) -> None:
    assert next(other for other in table if other.pattern.search(row.example)) is row


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("model 'llama9' not found", C.MODEL_NOT_FOUND),
        ("llama-server reported out-of-memory during startup: ggml_cuda_host_malloc", C.OUT_OF_MEMORY),
        ("llama runner process has terminated: cudaMalloc failed: out of memory", C.OUT_OF_MEMORY),
        ("llama-server process no longer running: 1 ", C.BACKEND),
        ("something else", C.UNKNOWN),
    ],
)
def test_messages_of_ollamas_source_have_their_class(message: str, failure: C) -> None:
    assert classify(message, table=OLLAMA_TABLE)[0] is failure


def test_every_class_but_unknown_has_a_row() -> None:
    assert {row.failure for row in TABLE} == set(C) - {C.UNKNOWN}


def test_the_status_decides_only_where_the_message_does_not() -> None:
    assert classify("something else", "StatusCode.UNAVAILABLE")[0] is C.UNREACHABLE
    assert classify("something else", "DEADLINE_EXCEEDED")[0] is C.TIMEOUT
    assert classify("Exceeds maximum queue size", "StatusCode.UNAVAILABLE")[0] is C.TIMEOUT
    assert classify("something else", "StatusCode.INTERNAL") == (C.UNKNOWN, UNKNOWN_REMEDY)


OURS = '{"name": "m"}'


@pytest.mark.parametrize(
    ("status", "text", "failure", "word"),
    [
        (401, "<html>Authorization Required</html>", C.CONTROL_NOT_ALLOWED, "credentials"),
        (403, '{"message": "no"}', C.CONTROL_NOT_ALLOWED, "credentials"),
        (403, '{"error": "who are you?"}', C.CONTROL_NOT_ALLOWED, "credentials"),
        (407, "", C.CONTROL_NOT_ALLOWED, "credentials"),
        (404, "404 page not found", C.INVALID_CONFIGURATION, "address"),
        (302, "", C.INVALID_CONFIGURATION, "redirect"),
        (200, "<html>Sign in</html>", C.INVALID_CONFIGURATION, "address"),
        (405, "[]", C.INVALID_CONFIGURATION, "address"),
        (400, '{"error": "requested model \'x\' is not available"}', C.MODEL_NOT_FOUND, "load"),
        (500, '{"error": "something else"}', C.UNKNOWN, "log"),
    ],
)
def test_an_answer_that_no_later_try_changes_is_a_refusal_with_class_and_remedy(
    status: int, text: str, failure: C, word: str
) -> None:
    with pytest.raises(ActionError) as refused:
        answer_of("t0", "http://t0/config", status, text)
    assert (refused.value.failure, word in refused.value.remedy) == (failure, True), refused.value.remedy
    assert not failure.transient


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_of_what_stands_before_a_server_that_is_away_may_pass(status: int) -> None:
    for text in ("<html>Bad Gateway</html>", '{"message": "no healthy upstream"}'):
        with pytest.raises(
            TargetUnreachableError, match=rf"^t0: http://t0/config answered HTTP {status}, no answer of"
        ):
            answer_of("t0", "http://t0/config", status, text)


def test_the_servers_own_answer_is_given_as_it_is() -> None:
    assert answer_of("t0", "http://t0/config", 200, OURS) == {"name": "m"}


def test_the_page_of_failures_is_made_from_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "failures.md"
    assert page.read_text(encoding="utf-8") == failures_page()


BATCHED: dict[str, Any] = {"name": "m", "backend": "onnxruntime", "max_batch_size": 8, "dynamic_batching": {}}
TENSORRT = {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": {}}]}}


def stats(inferences: int, executions: int, queue_ns: int, compute_ns: int) -> dict[str, Any]:
    return {
        "inference_count": inferences,
        "execution_count": executions,
        "inference_stats": {"queue": {"ns": queue_ns}, "compute_infer": {"ns": compute_ns}},
    }


def classes(config: dict[str, Any], of: dict[str, Any] | None = None) -> list[C]:
    return [fault.failure for fault in silent_faults(config, of)]


@pytest.mark.parametrize("size", [0, 1])
def test_dynamic_batching_without_a_batch_dimension_is_a_silent_fault(size: int) -> None:
    fault = silent_faults({**BATCHED, "max_batch_size": size})[0]
    assert fault.failure is C.DYNAMIC_BATCHING_OFF
    assert f"max_batch_size is {size}" in fault.what


def test_requests_that_queue_and_run_one_by_one_without_dynamic_batching_are_a_silent_fault() -> None:
    unbatched = {"name": "m", "backend": "onnxruntime", "max_batch_size": 8}
    assert classes(unbatched, stats(1000, 1000, 9_000, 1_000)) == [C.DYNAMIC_BATCHING_OFF]
    assert classes(unbatched, stats(1000, 1000, 500, 1_000)) == [], "nobody waits"
    assert classes(unbatched, stats(1000, 250, 9_000, 1_000)) == [], "the clients send batches"
    assert classes(unbatched, stats(5, 5, 9_000, 1_000)) == [], "too few to tell"
    assert classes(unbatched) == []


def test_tensorrt_on_a_backend_that_ignores_it_is_a_silent_fault() -> None:
    assert classes({**BATCHED, "backend": "python", "optimization": TENSORRT}) == [C.ACCELERATION_FAILED]
    assert classes({**BATCHED, "optimization": TENSORRT}) == []


def test_a_sound_model_has_no_silent_fault() -> None:
    assert classes(BATCHED, stats(1000, 1000, 9_000, 1_000)) == []
