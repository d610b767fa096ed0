from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.api.app import create_app
from tests.unit.api.fakes import FakePlane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FakePlane]:
    made = FakePlane(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def client(plane: FakePlane) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the API in this process, without a socket."""
    transport = httpx.ASGITransport(app=create_app(plane, clock=plane.loop.clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8900") as made:
        yield made
