"""Amounts of memory in words."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def memory_text(size_bytes: float) -> str:
    """Bytes in the largest unit of which it is at least one, with four digits: 24 GiB, 1.397 GiB, 512 bytes."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} bytes"
    size, unit = size_bytes / 1024, 0
    while size >= 1024 and unit + 1 < len(_UNITS):
        size, unit = size / 1024, unit + 1
    return f"{size:.4g} {_UNITS[unit]}"
