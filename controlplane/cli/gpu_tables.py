"""GPUs, their MIG slices and the nodes that tell them, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.output import duration
from controlplane.cli.tables import UNKNOWN, escape, gib, new_table, or_unknown

_WORDS = {
    "utilisation": "busy",
    "memory_used_bytes": "memory used",
    "memory_total_bytes": "memory",
    "power_w": "power",
    "temperature_c": "temperature",
    "sm_clock_mhz": "SM clock",
    "throttle_reasons": "throttled by",
    "ecc_uncorrected": "ECC errors",
    "last_xid": "last XID",
    "processes": "processes",
    "mig_enabled": "MIG",
    "slices": "slices",
}
_SLICE_WORDS = {"profile": "profile", **dict(list(_WORDS.items())[1:3]), "placement": "place"}


def gpus_table(gpus: Mapping[str, Any], nodes: Mapping[str, Any]) -> RenderableType:
    """GPUs of all nodes and their slices, and below them why something is not known."""
    silent = [line for name, up in nodes.items() if (line := _gap(f"node {name}", {"GPUs": up}))]
    if gpus["value"] is None:
        return f"[bold]GPUs[/]: {UNKNOWN} [dim]{escape(gpus['why'])}[/]"
    if not gpus["value"]:
        return Group("[bold]GPUs[/]: none", *silent)
    table = new_table("GPUs", "node", "gpu", "name", "read", *_WORDS.values())
    for gpu in gpus["value"]:
        table.add_row(
            escape(gpu["node"]) or "this machine",
            str(gpu["index"]),
            escape(gpu["name"]),
            _read(gpu),
            or_unknown(gpu["utilisation"], lambda v: f"{v:.0%}"),
            or_unknown(gpu["memory_used_bytes"], gib),
            or_unknown(gpu["memory_total_bytes"], gib),
            or_unknown(gpu["power_w"], lambda v: f"{v:.0f} W"),
            or_unknown(gpu["temperature_c"], lambda v: f"{v} °C"),
            or_unknown(gpu["sm_clock_mhz"], lambda v: f"{v} MHz"),
            or_unknown(gpu["throttle_reasons"], lambda v: escape(", ".join(v)) or "nothing"),
            or_unknown(gpu["ecc_uncorrected"]),
            or_unknown(gpu["last_xid"], lambda v: str(v or "none")),
            or_unknown(gpu["processes"], lambda v: str(len(v))),
            or_unknown(gpu["mig_enabled"], {True: "on", False: "off"}.get),
            or_unknown(gpu["slices"], lambda v: str(len(v))),
        )
    return Group(table, *_gaps(gpus["value"]), *silent, *_slices(gpus["value"]))


def _read(gpu: Mapping[str, Any]) -> str:
    """How long ago its newest figure was read."""
    ages = [gpu[key]["age_s"] for key in _WORDS if gpu[key]["age_s"] is not None]
    return f"{duration(min(ages))} ago" if ages else UNKNOWN


def _slices(gpus: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    table = new_table("MIG slices", "node", "gpu", "slice", *_SLICE_WORDS.values(), "processes")
    gaps: list[str] = []
    for gpu in gpus:
        for piece in gpu["slices"]["value"] or ():
            running = [process for process in gpu["processes"]["value"] or () if process["slice"] == piece["uuid"]]
            table.add_row(
                escape(gpu["node"]) or "this machine",
                str(gpu["index"]),
                escape(piece["uuid"]),
                or_unknown(piece["profile"], escape),
                or_unknown(piece["memory_used_bytes"], gib),
                or_unknown(piece["memory_total_bytes"], gib),
                or_unknown(piece["placement"], lambda v: f"{v['start']}+{v['size']}"),
                UNKNOWN if gpu["processes"]["value"] is None else str(len(running)),
            )
            gaps.append(_gap(piece["uuid"], {word: piece[key] for key, word in _SLICE_WORDS.items()}))
    if table.row_count:
        yield table
        yield from filter(None, gaps)


def _gaps(gpus: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for gpu in gpus:
        what = " ".join(filter(None, (gpu["node"], f"GPU {gpu['index']}")))
        if line := _gap(what, {word: gpu[key] for key, word in _WORDS.items()}):
            yield line


def _gap(what: str, views: Mapping[str, Mapping[str, Any]]) -> str:
    """A line that says what of it is not known and why; empty when all is."""
    whys: dict[str, list[str]] = {}
    for word, view in views.items():
        if view["state"] != "known":
            whys.setdefault(view["why"], []).append(word)
    parts = "; ".join(f"{', '.join(words)}: {why}" for why, words in whys.items())
    return f"[dim]{escape(what)}: {escape(parts)}[/]" if parts else ""
