"""One LoRA adapter as written: its checks, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.faults import join, one_of
from controlplane.config.model_items import LoraBlock
from controlplane.config.names import expand
from controlplane.config.reading import Document, ModelPart
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind
from controlplane.domain.lora import Lora
from controlplane.domain.objectives import IndicatorSource


def check_lora(part: ModelPart, kind: ServerKind | None, document: Document) -> Iterator[Fault]:
    """Faults of meaning of an adapter; `kind` is that of its servers, None: not sure."""
    model, lora = part.item, part.item.lora
    if lora is None:
        return
    if kind not in {None, ServerKind.VLLM}:
        yield Fault(join(part.path, "lora"), "this key", "only for models on vllm")
    yield from _check_base(part, lora, document)
    if model.idle_unload is not None:
        allowed = "not for an adapter: vLLM counts its requests as those of its base, so that idleness is not seen"
        yield Fault(join(part.path, "idle_unload"), "this key", allowed)
    if model.profile is not None:
        yield Fault(join(part.path, "profile"), "this key", "only for the base, whose requests those of adapters are")
    for objective in part.objectives:
        source = objective.item.source
        if objective.item.ratio is None and source is not IndicatorSource.PROBE:
            value = "nothing" if source is None else repr(source.value)
            allowed = "probe, or a ratio: vLLM counts the requests of an adapter as those of its base"
            yield Fault(join(objective.path, "source"), value, allowed)


def _check_base(part: ModelPart, lora: LoraBlock, document: Document) -> Iterator[Fault]:
    """The base is a model of its own, and runs wherever the adapter does."""
    bases = {other.item.name: other.item for other in document.models if other.item.lora is None}
    if lora.base not in bases:
        allowed = f"the name of a model that is no adapter: {one_of(lora.base, tuple(bases))}"
        yield Fault(join(part.path, "lora", "base"), repr(lora.base), allowed)
        return
    there = expand(bases[lora.base].runs_on, document.kinds)
    elsewhere = [name for name in expand(part.item.runs_on, document.kinds) if name not in there]
    if elsewhere:
        allowed = f"where its base {lora.base} runs: {', '.join(there)}"
        yield Fault(join(part.path, "runs_on"), ", ".join(elsewhere), allowed)


def to_lora(block: LoraBlock) -> Lora:
    """The domain's adapter."""
    return Lora(block.path, block.base, block.token_file or "")
