"""What a gateway that routes by model says: names, URLs, and what is no answer."""

from __future__ import annotations

import pytest

from controlplane.collect.routes import RoutesTarget
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import RoutesSpec, ServerKind, ServerSpec
from controlplane.domain.signal import Known, Missing, Stale

SERVERS = [ServerSpec(f"t{i}", ServerKind.TRITON, f"http://t{i}:8000", "http://m", f"t{i}:8001") for i in range(3)]


class FakePages:
    def __init__(self) -> None:
        self.text: str | None = None

    async def get_text(self, target: str, url: str, timeout_s: float) -> str:
        del url, timeout_s
        if self.text is None:
            raise TargetUnreachableError(target, "connection refused")
        return self.text


async def read(target: RoutesTarget, pages: FakePages, at: float) -> object:
    return await target.read(pages, 1.0, lambda: at)  # type: ignore[arg-type]


def a_target() -> tuple[RoutesTarget, FakePages]:
    return RoutesTarget(RoutesSpec("edge", "http://edge", ("t0", "t1", "t2")), SERVERS, max_age_s=15.0), FakePages()


async def test_servers_are_known_by_name_url_and_grpc_endpoint() -> None:
    target, pages = a_target()
    pages.text = '{"m": ["t0", "http://t1:8000/", "t2:8001", "http://stranger"], "n": []}'
    assert await read(target, pages, 100.0) is None
    assert target.reading(101.0) == Known({"m": frozenset({"t0", "t1", "t2"}), "n": frozenset()}, 100.0)


@pytest.mark.parametrize("text", ["", "[]", '{"m": "t0"}', '{"m": [1]}', "<html>"])
async def test_what_is_no_answer_is_missing_and_never_nowhere(text: str) -> None:
    target, pages = a_target()
    pages.text = text
    assert isinstance(await read(target, pages, 100.0), MalformedPageError)
    assert isinstance(target.reading(100.0), Missing)


async def test_a_gateway_that_falls_silent_is_stale_with_the_reason() -> None:
    target, pages = a_target()
    pages.text = "{}"
    await read(target, pages, 100.0)
    pages.text = None
    assert isinstance(await read(target, pages, 105.0), TargetUnreachableError)
    assert target.reading(110.0) == Known({}, 100.0)
    assert target.reading(120.0) == Stale({}, 100.0, 20.0, "connection refused")
