"""Models that generate text, on their servers: tokens, KV cache, sleep and adapters; below it what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.tables import escape, is_narrow, new_table, number, or_unknown

View = Mapping[str, Any]

_TELLING = ("generation_tokens_per_s", "kv_cache_usage", "sleep")
"""A model of which one of them is known generates text."""
_SHOWN = {
    "prompt_tokens_per_s": "prompt tokens",
    "generation_tokens_per_s": "generated tokens",
    "prefix_hit_ratio": "prefix hits",
    "kv_cache_usage": "KV cache used",
    "kv_cache_tokens": "KV cache size",
    "preemptions_per_s": "preemptions",
    "sleep": "sleep",
    "adapters": "adapters",
}
_NAMED = 3


def serving_table(models: Sequence[View]) -> RenderableType | None:
    """The table and the lines below it; None where no model is known to generate text."""
    units = [(model["name"], unit["server"], unit["serving"]) for model in models for unit in model["units"]]
    generating = [unit for unit in units if any(unit[2][key]["state"] != "missing" for key in _TELLING)]
    if not generating:
        return None
    narrow = is_narrow()
    names = ("model\n server",) if narrow else ("model", "server")
    figures = ("prompt\ntok/s", "output\ntok/s", "prefix\nhits", "KV cache", "preempt.\n/min", "sleep", "adapters")
    table = new_table("Text generation", *names, *figures)
    for model, server, s in generating:
        table.add_row(
            *((f"{escape(model)}\n {escape(server)}",) if narrow else (escape(model), escape(server))),
            or_unknown(s["prompt_tokens_per_s"], number),
            or_unknown(s["generation_tokens_per_s"], number),
            or_unknown(s["prefix_hit_ratio"], _share),
            f"{or_unknown(s['kv_cache_usage'], _share)} of {or_unknown(s['kv_cache_tokens'], _tokens)}",
            or_unknown(s["preemptions_per_s"], lambda per_s: number(60 * per_s)),
            or_unknown(s["sleep"], _sleep),
            or_unknown(s["adapters"], _adapters),
        )
    return Group(table, *_gaps(generating))


def _gaps(units: Sequence[tuple[str, str, View]]) -> Iterator[str]:
    """A line per reason: what it hides, and of which models."""
    hidden: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for model, server, serving in units:
        for key, word in _SHOWN.items():
            if serving[key]["state"] != "known":
                words, where = hidden.setdefault(serving[key]["why"], ({}, {}))
                words[word] = where[f"{model} on {server}"] = None
    for why, (words, where) in hidden.items():
        named = ", ".join([*where][:_NAMED]) + (f" and {len(where) - _NAMED} more" if len(where) > _NAMED else "")
        text = f"{named}: {', '.join(words)}: {why}"
        yield f"[dim]{escape(text)}[/]"


def _sleep(state: str) -> str:
    return "no" if state == "awake" else f"[yellow]{state.replace('_', ' ')}[/]"


def _adapters(adapters: View) -> str:
    """Running ones by name, and how many wait."""
    running = ", ".join(escape(name) for name in adapters["running"]) or "none"
    return running + (f" [yellow]+{len(adapters['waiting'])} waiting[/]" if adapters["waiting"] else "")


def _share(value: float) -> str:
    return f"{value:.1%}"


def _tokens(count: int) -> str:
    return f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.3g}k" if count >= 1e3 else str(count)
