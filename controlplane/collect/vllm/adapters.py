"""LoRA adapters of a vLLM, as models of their own: from its list of models, since it counts nothing of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

from controlplane.collect.http import Pages
from controlplane.collect.page_server import Served
from controlplane.collect.token_file import read_token
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import ServerSpec
from controlplane.domain.lora import Lora, adapter_paths
from controlplane.domain.observation import ModelState
from controlplane.domain.signal import Missing

Listed: TypeAlias = Mapping[str, str] | Missing
"""The paths of loaded adapters by name."""
_UNCOUNTED = Missing("vLLM counts the requests of an adapter as those of its base model")
_NEEDS_KEY = frozenset({401, 403})


async def list_adapters(pages: Pages, spec: ServerSpec, token_file: str, timeout_s: float) -> Listed:
    """What GET /v1/models tells, with the API key in `token_file` where one is given. Raises nothing."""
    try:
        headers = {"Authorization": f"Bearer {read_token(token_file)}"} if token_file else {}
        answer = await pages.ask(
            f"{spec.name} list of models", "GET", f"{spec.http}/v1/models", timeout_s=timeout_s, headers=headers
        )
        told = json.loads(answer.body or b"") if answer.status == 200 else None
    except (TargetUnreachableError, MalformedPageError, ValueError) as error:
        return Missing(f"adapters are not known: {error}")
    if answer.status in _NEEDS_KEY:
        return Missing(f"adapters are not known: HTTP {answer.status} for /v1/models; lora.token_file gives its key")
    paths = adapter_paths(told)
    return Missing(f"adapters are not known: HTTP {answer.status} without a list of models") if paths is None else paths


def served_adapter(name: str, lora: Lora, listed: Listed, base: Served | None) -> Served:
    """The adapter as a model. While its base sleeps requests for it hang too."""
    entry = Served(whole=False, untold=_UNCOUNTED)
    if isinstance(listed, Missing):
        entry.state, entry.reason = None, listed.why
    elif base is not None and base.state is not ModelState.READY:
        entry.state, entry.reason, entry.sleep = base.state, base.reason, base.sleep
    elif name not in listed:
        entry.state = ModelState.UNLOADED
    elif listed[name] != lora.path:
        entry.outdated = listed[name]
    return entry
