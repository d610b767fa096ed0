"""Every kind of answer of a Prometheus is told from every other: by a server that gives all, and by the real one."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.collect.prometheus.api import Prometheus
from controlplane.domain.errors import (
    ControlPlaneError,
    MalformedPageError,
    PermanentError,
    QueryRefusedError,
    TargetUnreachableError,
    TransientError,
)
from controlplane.domain.sources import PrometheusSpec
from tests.prometheus_fixtures import RealPrometheus

TIMEOUT_S = 1.0
TOKEN = "s3cret-token"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def vector(*rows: tuple[dict[str, str], str], **more: object) -> bytes:
    result = [{"metric": labels, "value": [1700000000.25, value]} for labels, value in rows]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


def refusal(kind: str, error: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": error}).encode()


def http(body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}Connection: close\r\n\r\n".encode() + body


def says(data: bytes) -> Handler:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return handle


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
    for _mib in range(50):
        writer.write(b" " * 2**20)
        await writer.drain()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The URL of a server that answers by `handler`, and the heads of the requests that it got."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@asynccontextmanager
async def asking(url: str, token_file: Path | str = "") -> AsyncIterator[Prometheus]:
    prometheus = Prometheus(PrometheusSpec("prod", url, TIMEOUT_S, str(token_file)), limit_bytes=4 * 2**20)
    yield prometheus
    prometheus.close()


async def failure(handler: Handler, token_file: Path | str = "") -> ControlPlaneError:
    async with serving(handler) as (url, _), asking(url, token_file) as prometheus:
        with pytest.raises(ControlPlaneError) as caught:
            await prometheus.query("nv_up{x='1'}")
    return caught.value


async def test_a_good_answer_is_samples_and_the_moment_they_are_of() -> None:
    body = vector(({"__name__": "a", "le": "+Inf"}, "1.5"), ({"__name__": "b"}, "NaN"), ({}, "-Inf"))
    async with serving(says(http(body))) as (url, heads), asking(url) as prometheus:
        answer = await prometheus.query("a or b", 12.5)
    (first, second, third) = answer.samples
    assert (first, answer.at, answer.warnings) == (({"__name__": "a", "le": "+Inf"}, 1.5), 1700000000.25, ())
    assert math.isnan(second[1])
    assert third == ({}, -math.inf)
    assert b"GET /api/v1/query?query=a+or+b&timeout=1.000&time=12.500 HTTP/1.1" in heads[0]
    assert b"Authorization" not in heads[0]


async def test_nothing_is_a_good_answer_with_nothing_in_it() -> None:
    async with serving(says(http(vector()))) as (url, _), asking(url) as prometheus:
        now, then = await prometheus.query("a"), await prometheus.query("a", 7)
    assert (now.samples, now.at, then.samples, then.at) == ([], None, [], 7)


async def test_a_partial_answer_says_so_in_the_words_of_its_warnings() -> None:
    body = vector(({"__name__": "a"}, "1"), warnings=["store 10.0.0.7 is away"], infos=["no counter"])
    async with serving(says(http(body))) as (url, _), asking(url) as prometheus:
        answer = await prometheus.query("a")
    assert answer.samples == [({"__name__": "a"}, 1)]
    assert (answer.warnings, answer.infos) == (("store 10.0.0.7 is away",), ("no counter",))


async def test_a_packed_answer_is_understood_and_the_next_one_uses_the_same_thread() -> None:
    packed = http(gzip.compress(vector(({"__name__": "a"}, "3"))), headers="Content-Encoding: gzip\r\n")
    async with serving(says(packed)) as (url, _), asking(url) as prometheus:
        for _ in range(3):
            assert (await prometheus.query("a")).samples == [({"__name__": "a"}, 3)]
        names = [thread.name for thread in threading.enumerate()]
    assert names.count("controlplane-prometheus-prod") == 1


TRANSIENT: dict[str, tuple[Handler, str]] = {
    "too many": (says(http(b"slow down", "429 Too Many Requests")), "answered HTTP 429"),
    "broken": (says(http(b"<h1>oops</h1>", "500 Internal Server Error")), "answered HTTP 500"),
    "busy": (says(http(refusal("timeout", "query timed out"), "503 Service Unavailable")), "503: query timed out"),
    "hangs": (hang, "no answer within 1 s"),
    "drips": (drip, "no answer within 1 s"),
    "closes": (says(b""), "connection closed without an answer"),
    "cut": (says(http(vector(), length=9999)), "the answer ended before its end"),
}
REFUSED: dict[str, tuple[Handler, str]] = {
    "bad query": (
        says(http(refusal("bad_data", "1:3: parse error: unexpected"), "400 Bad Request")),
        """refuses the query "nv_up{x='1'}": 1:3: parse error: unexpected""",
    ),
    "not to be computed": (
        says(http(refusal("execution", "many-to-many matching"), "422 Unprocessable Entity")),
        "many-to-many matching",
    ),
    "who are you": (says(http(b"", "401 Unauthorized")), "HTTP 401: it wants a token: set token_file"),
    "no api": (says(http(b"404 page not found", "404 Not Found")), "no Prometheus API (HTTP 404): wrong URL?"),
    "ranges": (
        says(http(b'{"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"]]}]}}')),
        """the query "nv_up{x='1'}" gives ranges of samples (a matrix); an instant vector is needed""",
    ),
    "a scalar": (
        says(http(b'{"data": {"resultType": "scalar", "result": [1, "2"]}}')),
        "(a scalar); an instant vector",
    ),
    "elsewhere": (says(http(b"", "302 Found", headers="Location: /x\r\n")), "redirects are not followed"),
}
NO_ANSWER: dict[str, tuple[Handler, str]] = {
    "html": (says(http(b"<!DOCTYPE html><p>Welcome</p>")), "not an answer of a Prometheus: '<!DOCTYPE html>"),
    "garbage": (says(http(bytes(range(256)))), "not an answer of a Prometheus"),
    "other json": (says(http(b'{"status": "success", "data": {}}')), "not an answer of a Prometheus"),
    "a list": (says(http(b"[1, 2]")), "not an answer of a Prometheus: '[1, 2]'"),
    "an error of status 200": (
        says(http(refusal("internal", "no space"))),
        "not an answer of a Prometheus: 'no space'",
    ),
    "a word": (says(http(vector(({}, "lots")))), "not an answer of a Prometheus"),
    "floods": (flood, "answer larger than 4 MiB"),
    "a bomb": (
        says(http(gzip.compress(b" " * 50 * 2**20), headers="Content-Encoding: gzip\r\n")),
        "answer larger than 4 MiB",
    ),
}


@pytest.mark.parametrize("case", TRANSIENT)
async def test_what_may_be_over_soon_is_a_transient_error(case: str) -> None:
    handler, why = TRANSIENT[case]
    error = await failure(handler)
    assert isinstance(error, TargetUnreachableError)
    assert isinstance(error, TransientError)
    assert str(error).startswith("Prometheus prod: ")
    assert why in str(error)


@pytest.mark.parametrize("case", REFUSED)
async def test_what_somebody_has_to_mend_is_a_permanent_error(case: str) -> None:
    handler, why = REFUSED[case]
    error = await failure(handler)
    assert isinstance(error, QueryRefusedError)
    assert isinstance(error, PermanentError)
    assert why in str(error)


@pytest.mark.parametrize("case", NO_ANSWER)
async def test_what_is_no_answer_of_a_prometheus_is_malformed(case: str) -> None:
    handler, why = NO_ANSWER[case]
    error = await failure(handler)
    assert isinstance(error, MalformedPageError)
    assert why in str(error)


async def test_nobody_listening_is_a_refused_connection() -> None:
    async with serving(hang) as (url, _):
        pass
    async with asking(url) as prometheus:
        with pytest.raises(TargetUnreachableError, match="Prometheus prod: connection refused"):
            await prometheus.query("a")


async def test_a_refused_query_is_asked_once_and_not_again(tmp_path: Path) -> None:
    async with serving(says(http(b"", "503 Service Unavailable"))) as (url, heads), asking(url) as prometheus:
        with pytest.raises(TargetUnreachableError):
            await prometheus.query("a")
    assert len(heads) == 1


async def test_the_token_is_read_anew_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with serving(says(http(vector()))) as (url, heads), asking(url, file) as prometheus:
        for token in (TOKEN, "another"):
            file.write_text(f"{token}\n")
            await prometheus.query("a")
    assert b"Authorization: Bearer s3cret-token\r\n" in heads[0]
    assert b"Authorization: Bearer another\r\n" in heads[1]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_token_that_is_not_accepted_is_named_by_its_file_alone(tmp_path: Path, status: str) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    error = await failure(says(http(b"", status)), file)
    assert isinstance(error, QueryRefusedError)
    assert f"the token in {file} is not accepted" in str(error)
    assert TOKEN not in repr(error)


@pytest.mark.parametrize("content", [None, b"", b"two words", b"a\r\nX-Injected: 1", "\u00fc".encode(), b"\xff"])
async def test_a_file_without_a_token_is_told_without_its_content(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    error = await failure(says(http(vector())), file)
    assert isinstance(error, QueryRefusedError)
    assert f"token_file {file} " in str(error)
    assert "words" not in str(error)
    assert "Injected" not in str(error)


async def test_a_redirect_takes_the_token_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    async with serving(says(http(vector()))) as (elsewhere, heads):
        moved = says(http(b"", "307 Temporary Redirect", headers=f"Location: {elsewhere}/api/v1/query\r\n"))
        error = await failure(moved, file)
    assert "redirects are not followed" in str(error)
    assert heads == []


async def test_a_call_that_hangs_means_no_answer_until_it_returns_and_costs_no_second_thread() -> None:
    let_go = asyncio.Event()

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # keeps the connection alive, so that only the thread's own deadline ends the wait
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        await writer.drain()
        while not let_go.is_set():
            writer.write(b"X: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(http(vector()).split(b"\r\n", 1)[1])
        await writer.drain()

    async with serving(handle) as (url, heads), asking(url) as prometheus:
        with pytest.raises(TargetUnreachableError, match="no answer within"):
            await prometheus.query("a")
        with pytest.raises(TargetUnreachableError, match="an earlier call still hangs"):
            await prometheus.query("a")
        names = [thread.name for thread in threading.enumerate()]
        assert (names.count("controlplane-prometheus-prod"), len(heads)) == (1, 1)
        let_go.set()
        async with asyncio.timeout(10):
            while True:
                try:
                    answer = await prometheus.query("a")
                except TargetUnreachableError:
                    await asyncio.sleep(0.05)
                else:
                    break
    assert answer.samples == []


async def test_a_cancelled_caller_costs_the_next_one_nothing() -> None:
    async with serving(says(http(vector(({}, "1"))))) as (url, _), asking(url) as prometheus:
        task = asyncio.create_task(prometheus.query("a"))
        await asyncio.sleep(0)
        task.cancel()
        answers = await asyncio.gather(*(prometheus.query("a") for _ in range(3)))
    assert [answer.samples for answer in answers] == [[({}, 1)]] * 3


async def test_the_real_one_answers_refuses_and_names_its_targets(prometheus: RealPrometheus) -> None:
    address = f"127.0.0.1:{prometheus.port}"
    await asyncio.to_thread(prometheus.scrape, {"itself": [address]})
    await asyncio.to_thread(prometheus.until, lambda: bool(prometheus.samples("up == 1")), "it is up")
    asker = Prometheus(prometheus.spec())
    up = await asker.query("up")
    assert up.samples == [({"__name__": "up", "job": "itself", "instance": address}, 1)]
    assert up.at is not None
    assert (await asker.query("up", up.at)).at == pytest.approx(up.at, abs=0.001)
    assert (await asker.query("nothing_of_that_name")).samples == []
    with pytest.raises(QueryRefusedError, match=r"refuses the query 'up\{': .*parse error"):
        await asker.query("up{")
    (target,) = (await asker.targets()).active
    assert target.labels == {"job": "itself", "instance": address}
    assert (target.scrape_url, target.health) == (f"http://{address}/metrics", "up")
    prometheus.pause()
    brief = Prometheus(prometheus.spec(timeout_s=0.3))
    with pytest.raises(TargetUnreachableError, match=r"no answer within 0\.3"):
        await brief.query("up")
    prometheus.go_on()
    brief.close()
    asker.close()
