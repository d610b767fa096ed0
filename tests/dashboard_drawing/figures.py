"""How figures are written, as Grafana writes them, and in which colour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

BACK, PANEL, EDGE, TEXT, FAINT = "#111217", "#181b1f", "#2c3235", "#ccccdc", "#7b8087"
PALETTE = ("#73BF69", "#F2CC0C", "#5794F2", "#FF9830", "#B877D9", "#8AB8FF", "#F2495C", "#FFA6B0", "#96D98D", "#CA95E5")
_NAMED = {
    "green": "#73BF69",
    "yellow": "#F2CC0C",
    "red": "#F2495C",
    "blue": "#5794F2",
    "light-blue": "#8AB8FF",
    "dark-blue": "#1F60C4",
    "orange": "#FF9830",
    "purple": "#B877D9",
}
_SUFFIXES = {"reqps": " req/s", "ops": " ops/s", "eps": " evt/s", "watt": " W", "celsius": " °C"}
_SCALES = {
    "bytes": (1024.0, ("B", "KiB", "MiB", "GiB", "TiB")),
    "hertz": (1000.0, ("Hz", "kHz", "MHz", "GHz")),
    "short": (1000.0, ("", "K", "Mil", "Bil")),
}
_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def color(name: str) -> str:
    """What Grafana's name of a colour looks like."""
    return _NAMED.get(name, name)


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A figure with its unit."""
    if math.isnan(value):
        return "NaN"
    if unit == "percentunit":
        return f"{_number(value * 100, decimals)}%"
    if unit == "s":
        size = max(abs(value), 1e-9)
        scale, name = next(((scale, name) for scale, name in _TIMES if size >= scale), _TIMES[-1])
        return "0 s" if not value else f"{_number(value / scale, decimals)} {name}"
    if unit in _SCALES:
        return _scaled(value, *_SCALES[unit], decimals).strip()
    suffix = f" {unit.partition(':')[2]}" if unit.startswith("suffix:") else _SUFFIXES.get(unit, "")
    return f"{_number(value, decimals)}{suffix}"


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.4g}" if abs(value) < 10000 else f"{value:,.0f}"


def _scaled(value: float, base: float, names: Sequence[str], decimals: int | None) -> str:
    power = min(len(names) - 1, int(math.log(max(abs(value), 1.0), base)))
    return f"{_number(value / base**power, 1 if decimals is None and power else decimals)} {names[power]}"


def by_steps(value: float, thresholds: Mapping[str, Any]) -> str:
    """The colour of a value: that of the last step that it reaches."""
    reached = [step["color"] for step in thresholds["steps"] if step["value"] is None or value >= step["value"]]
    return color(reached[-1]) if reached else TEXT


def meant(value: float, mappings: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """What a value is called and its colour, where a mapping says so."""
    for mapping in mappings:
        said = mapping["options"].get(f"{value:g}")
        if said is not None:
            return said["text"], color(said["color"])
    return None


def shortened(text: str, most: int) -> str:
    """So many characters at most."""
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"
