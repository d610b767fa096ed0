"""The failure table of Ollama. Source of the messages: ollama/ollama server/routes.go, server/sched.go, llm/."""

from __future__ import annotations

from controlplane.act.failure_table import STRANGER, UNREACHABLE_REMEDY, Row, row
from controlplane.domain.failures import FailureClass as C

UNLOAD_REMEDY = "requests under way hold it: it is unloaded when the last of them is answered"

OLLAMA_TABLE: tuple[Row, ...] = (
    row(
        r"model .* not found",
        C.MODEL_NOT_FOUND,
        "pull it on that server (`ollama pull`), or correct served_name: a tag other than `latest` belongs to the name",
        'model "llama3.2" not found, try pulling it first',
    ),
    row(
        r"server busy|maximum pending requests exceeded",
        C.TIMEOUT,
        "more servers, or start Ollama with more OLLAMA_NUM_PARALLEL or OLLAMA_MAX_QUEUE",
        "server busy, please try again.  maximum pending requests exceeded",
    ),
    row(
        r"requires more system memory|out.of.memory|cudaMalloc failed|unable to load full model on GPU"
        r"|unable to allocate",
        C.OUT_OF_MEMORY,
        "unload other models there, or use a smaller quantization or context (num_ctx, OLLAMA_CONTEXT_LENGTH)",
        "model requires more system memory (5.6 GiB) than is available (3.1 GiB)",
    ),
    row(
        r"timed out waiting for",
        C.TIMEOUT,
        "start Ollama with a longer OLLAMA_LOAD_TIMEOUT, or keep its models on a faster disk",
        "timed out waiting for llama-server to start",
    ),
    row(
        r"process has terminated|process no longer running|has unexpectedly stopped",
        C.BACKEND,
        "read Ollama's log around this time: the process that runs the model ended",
        "llama-server process has terminated: signal: killed",
    ),
    row(
        r"does not support generate",
        C.CONTROL_NOT_ALLOWED,
        "an embedding model is loaded by its first request only",
        '"nomic-embed-text" does not support generate',
    ),
    row(
        r"connection refused|Cannot connect to host",
        C.UNREACHABLE,
        UNREACHABLE_REMEDY,
        "Cannot connect to host 127.0.0.1:11434",
    ),
    *STRANGER,
)
"""The first row that matches decides."""
