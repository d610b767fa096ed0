"""One Ollama, from its list of loaded models: it exports no metrics.

Source: ollama/ollama docs/api.md, "List Running Models". The list says nothing of requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from controlplane.collect.metrics_source import Metrics
from controlplane.collect.page_server import Histograms, PageServer, Served
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.observation import ModelState
from controlplane.domain.sizes import memory_text

_LATEST = ":latest"


class _Loaded(BaseModel):
    name: str
    size_vram: int = 0
    expires_at: str = ""


class _Answer(BaseModel):
    models: list[_Loaded]


class OllamaServer(PageServer):
    """One Ollama: whether it answers, and which models are in memory. `spec.metrics` is its /api/ps."""

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer. A name without a tag means the tag `latest`, as in Ollama itself."""
        try:
            answer = _Answer.model_validate_json(metrics.text)
        except ValidationError:
            raise MalformedPageError(f"{self.spec.name}: the answer is not a list of loaded models") from None
        served = {}
        for model in answer.models:
            told = f"{memory_text(model.size_vram)} of GPU memory; unloaded at {model.expires_at or 'an unknown time'}"
            entry = Served(ModelState.READY, told, whole=False)
            served[model.name] = entry
            served[model.name.removesuffix(_LATEST)] = entry
        return served, {}

    def unnamed(self, model: str) -> Served:
        """What is not in memory is loaded by the next request for it."""
        del model
        return Served(ModelState.UNLOADED, whole=False)
