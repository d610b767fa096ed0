"""LoRA adapters: models that share the weights of another one, and are loaded beside it while it serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter of the model named `base`; `path` is where its server finds it.

    `token_file` holds the server's API key, empty: it wants none.
    """

    path: str
    base: str
    token_file: str = ""


def adapter_paths(told: object) -> dict[str, str] | None:
    """The paths of the loaded adapters by name, out of the JSON of a vLLM's GET /v1/models; None where it is not that.

    Adapters are the entries that have a `parent`; their `root` is the path they were loaded from (vLLM 0.32,
    entrypoints/openai/models/serving.py).
    """
    entries = told.get("data") if isinstance(told, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return {str(entry.get("id")): str(entry.get("root") or "") for entry in entries if entry.get("parent")}
