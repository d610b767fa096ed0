"""The reference of backends that are read by a mapping, made from the mappings that come with the package.

`python -m controlplane.config.backends > docs/reference/backends.md` writes it; a test holds it up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from controlplane.config.mapping_file import shipped
from controlplane.domain.fleet import ServerKind
from controlplane.domain.mapping import PageMapping, Series

_TITLES = {
    ServerKind.TGI: "Text Generation Inference",
    ServerKind.TORCHSERVE: "TorchServe",
    ServerKind.TFSERVING: "TensorFlow Serving",
    ServerKind.SGLANG: "SGLang",
    ServerKind.NIM: "NVIDIA NIM for LLMs",
}
_UNITS = {1.0: "s", 1e-3: "ms", 1e-6: "us"}
_HEAD = """# Backends

Triton and vLLM have readers of their own. Ollama exports no metrics: its list of loaded models (`/api/ps`) tells which
models are in memory, with how much GPU memory and until when; requests are missing. All other backends are read by a
mapping: which series of their metrics page is which signal.

Models are loaded, unloaded and scaled on Triton. A vLLM [sleeps and wakes](../how-to/vllm.md), and its LoRA adapters
are loaded and unloaded. On Ollama people can load and unload them (`controlplane model load`, `unload`); nothing is
decided, since Ollama loads on request, unloads when idle by itself and tells no requests, so that idleness is not seen.
What was loaded so stays in memory (`keep_alive` -1) until it is unloaded, or until its memory is needed for another
model: two that people keep loaded and that do not fit together would take turns. A model kept unloaded is unloaded
again when a client's request has loaded it. On all other backends models are observed only.

All but TorchServe and TensorFlow Serving can be [probed](../how-to/probes.md), which gives objectives on `latency`, and
on `ttft` and `e2e` where the software has completions, whatever its page tells.

A signal that a backend does not export is missing, never zero, and no objective on it is taken. Counters that went down
or away begin anew. Where several names stand, they are tried in order (other versions of the software).

```yaml
servers:
  - {name: chat, kind: tgi, http: "http://chat:8080"}
  - {name: vision, kind: torchserve, http: "http://vision:8080", metrics: "http://vision:8082/metrics"}
models:
  - {name: llama, runs_on: chat, objectives: [{availability: 99%}, {e2e: 30s, target: 95%}]}
  - {name: resnet, runs_on: vision}
```

A mapping of your own is a file with the [keys of a mapping file](configuration.md#a-mapping-file). A server names it
with `kind: mapped` and `mapping: FILE`, or by its name in `mappings`; `controlplane check` tells every fault in it.

```yml
sources: our own server
model_label: model
gauges: {running: inflight_requests}
requests:
  success: {metric: requests_total, where: {code: "2.."}}
  failed: {metric: requests_total, where: {code: "5.."}}
histograms:
  e2e: {metric: request_duration_milliseconds, unit: ms}
```

The tables are generated from the mappings (`python -m controlplane.config.backends`). Each mapping is tested on a page
under `tests/pages/`: recorded from the real server for TorchServe, written after documentation and source for others.
TorchServe is tested for real too, where one is set up (CONTRIBUTING.md).
"""


def backends() -> str:
    """The page as Markdown."""
    found = ((kind, title, shipped(kind)) for kind, title in _TITLES.items())
    return "\n".join([_HEAD, *(line for kind, title, m in found if m for line in _table(kind, title, m))])


def _table(kind: ServerKind, title: str, mapping: PageMapping) -> Iterator[str]:
    page = f"at `{mapping.page}`" if mapping.page else "on a port of its own (`metrics` is required)"
    models = f"models by the label `{mapping.model_label}`" if mapping.model_label else "one model, without its name"
    yield f"## {title}\n\n`kind: {kind.value}`. Page {page}; {models}.\n\n| signal | metric | unit |\n|---|---|---|"
    outcomes, histograms = mapping.outcomes, dict(mapping.histograms)
    yield _row("pending", [mapping.pending], "requests")
    yield _row("running", [mapping.running], "requests")
    yield _row("KV cache usage", [mapping.kv_cache_usage], "0 to 1")
    yield _row("requests answered", outcomes.success, "requests")
    yield _row("requests failed", outcomes.failed, "requests")
    yield _row("requests rejected", outcomes.rejected, "requests")
    yield _row("requests canceled", outcomes.canceled, "requests")
    yield _row("request time, sum", [mapping.request_time])
    yield _row("queue time, sum", [mapping.queue_time])
    for indicator, series in histograms.items():
        yield _row(f"{indicator.value}, histogram", [series])
    if mapping.note:
        yield f"\n{mapping.note}"
    yield f"\nSources: {'; '.join(mapping.sources)}.\n"


def _row(signal: str, several: Iterable[Series | None], unit: str = "") -> str:
    there = [series for series in several if series]
    if not there:
        return f"| {signal} | missing | |"
    text = " + ".join(_series(series) for series in there)
    return f"| {signal} | {text} | {unit or _UNITS[there[0].unit_s]} |"


def _series(series: Series) -> str:
    names = " or ".join(f"`{metric}`" for metric in series.metrics)
    where = ", ".join(f'`{label}=~"{pattern}"`'.replace("|", "\\|") for label, pattern in series.where)
    return f"{names} with {where}" if where else names


if __name__ == "__main__":
    sys.stdout.write(backends())
