"""The failure table of vLLM.

Source of the messages: answers of vLLM 0.32, and its entrypoints/openai/models/serving.py, lora/ and device_allocator/.
"""

from __future__ import annotations

from controlplane.act.failure_table import UNREACHABLE_REMEDY, Row, row
from controlplane.domain.control import LORA_REMEDY, SLEEP_REMEDY
from controlplane.domain.failures import FailureClass as C

SLEEP_TIMEOUT_REMEDY = "requests under way hold it: it falls asleep when the last of them is answered"
RELOAD_REMEDY = "restart the server: a vLLM loads its own model at its start only"
NOT_AWAKE_REMEDY = "wake the rest too: somebody let parts of its memory sleep (`tags`), or paused it (POST /resume)"

VLLM_TABLE: tuple[Row, ...] = (
    row(
        r"there is no \w+ /v1/(un)?load_lora_adapter",
        C.CONTROL_NOT_ALLOWED,
        LORA_REMEDY,
        "there is no POST /v1/load_lora_adapter: Not Found",
    ),
    row(
        r"there is no \w+ /(sleep|wake_up|is_sleeping)",
        C.CONTROL_NOT_ALLOWED,
        SLEEP_REMEDY,
        "there is no POST /sleep: Not Found",
    ),
    row(
        r"LoRA is not enabled",
        C.CONTROL_NOT_ALLOWED,
        "start vLLM with --enable-lora",
        "LoRA is not enabled. Use --enable-lora to enable LoRA.",
    ),
    row(
        r"Unauthorized",
        C.INVALID_CONFIGURATION,
        "let lora.token_file name a file with the server's API key",
        "Unauthorized",
    ),
    row(
        r"No adapter found for",
        C.MODEL_NOT_FOUND,
        "put the adapter (adapter_config.json and its weights) where the server sees it under this path, or correct"
        " lora.path",
        "Loading lora c failed: No adapter found for /nope",
    ),
    row(
        r"has already been loaded",
        C.SUPERSEDED,
        "somebody else loaded it meanwhile, or this vLLM is too old to replace an adapter in place: unload it first",
        "The lora adapter 'a' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to"
        " True.",
    ),
    row(
        r"conflicts with a served base model",
        C.INVALID_CONFIGURATION,
        "give the adapter a served_name of its own",
        "The lora adapter 'tiny' conflicts with a served base model.",
    ),
    row(
        r"max_lora_rank|target modules|[Uu]nexpected modules|adapter_config|lora_extra_vocab",
        C.INVALID_CONFIGURATION,
        "the adapter does not suit the server: start it with a larger --max-lora-rank, or use an adapter of this base",
        "LoRA rank 64 is greater than max_lora_rank 16.",
    ),
    row(
        r"(?i)out of memory",
        C.OUT_OF_MEMORY,
        "free the GPU's memory: a model that slept needs as much as before to wake; for adapters lower --max-loras",
        "CUDA Error: out of memory at csrc/cumem_allocator.cpp:62",
    ),
    row(
        r"EngineCore encountered|EngineDeadError|Internal Server Error",
        C.BACKEND,
        "read vLLM's log around this time; restart it where its engine has ended",
        "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    ),
    row(
        r"[Cc]onnection refused|Cannot connect to host",
        C.UNREACHABLE,
        UNREACHABLE_REMEDY,
        "Cannot connect to host 127.0.0.1:8000",
    ),
)
"""The first row that matches decides."""
