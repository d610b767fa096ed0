"""The recorded pages, and pages made up in their manner."""

from __future__ import annotations

import re
from pathlib import Path

from controlplane.collect.page_server import PageServer
from controlplane.collect.servers import scraped

PAGES = Path(__file__).parents[2] / "pages"


def recorded(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def absorb(server: PageServer, at: float, text: str) -> None:
    """As if the server's page had been scraped."""
    models = [unit.model for unit in server.units.values()]
    server.absorb(scraped(server.spec, models).understood(at, text))


def times(text: str, factor: int) -> str:
    """The page with every sample so many times as large."""
    return re.sub(r"(?m)^([^#].*) (\d+(?:\.\d+)?)$", lambda m: f"{m[1]} {float(m[2]) * factor:g}", text)


def triton_page(
    model: str = "m",
    *,
    success: int = 0,
    backend: int = 0,
    rejected: int = 0,
    request_us: int = 0,
    queue_us: int = 0,
    pending: int | str = 0,
    loaded: bool = True,
) -> str:
    """The lines of one model on a Triton's metrics page."""
    labels = f'{{model="{model}",version="1"}}'
    lines = [
        f'nv_inference_request_failure{{model="{model}",reason="{reason}",version="1"}} {count}'
        for reason, count in (("OTHER", 0), ("CANCELED", 0), ("BACKEND", backend), ("REJECTED", rejected))
    ]
    if loaded:
        lines += [
            f"nv_inference_request_success{labels} {success}",
            f"nv_inference_request_duration_us{labels} {request_us}",
            f"nv_inference_queue_duration_us{labels} {queue_us}",
            f"nv_inference_pending_request_count{labels} {pending}",
        ]
    return "\n".join(lines) + "\n"


def histogram_page(name: str, counts: dict[str, int], **labels: str) -> str:
    """One histogram with cumulative counts by upper edge."""
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    lines = [f'{name}_bucket{{{text},le="{edge}"}} {count}' for edge, count in counts.items()]
    return "\n".join(lines) + "\n"
