"""What a site's command for copies told of its turns, and how a test waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path


def turns(folder: Path) -> list[str]:
    """The lines that commands wrote into the file `turns` of their folder, such as `begun MIG-0`; none yet: none."""
    file = folder / "turns"
    return file.read_text().splitlines() if file.exists() else []


async def until(wanted: Callable[[], object]) -> None:
    """Wait for what processes do in their own time."""
    async with asyncio.timeout(60):
        while not wanted():  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.01)
