"""A server whose certificate nobody here knows, and one that speaks no TLS at all: told as that, by whoever asks."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import requests

from controlplane.act.mig.agents import MigAgents
from controlplane.act.triton_control import TritonControl
from controlplane.act.vllm_api import VllmApi
from controlplane.collect.http import Pages
from controlplane.collect.prometheus.http import why_not
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import ServerKind, ServerSpec


def spec(url: str) -> ServerSpec:
    return ServerSpec("s", ServerKind.VLLM, url, url, grpc="127.0.0.1:1")


async def by_a_reading(url: str) -> None:
    pages = Pages()
    try:
        await pages.get("s", f"{url}/metrics", 30.0)
    finally:
        await pages.close()


async def by_vllm(url: str) -> None:
    api = VllmApi(lambda _: "", 30.0)
    try:
        await api.is_sleeping(spec(url))
    finally:
        await api.close()


async def by_triton(url: str) -> None:
    control = TritonControl(spec(url), call_timeout_s=30.0)
    try:
        await control.config("m")
    finally:
        await control.close()


async def by_an_agent(url: str) -> None:
    agents = MigAgents({"s": url}, lambda: "secret")
    try:
        await agents.layouts("s")
    finally:
        await agents.close()


async def by_prometheus(url: str) -> None:
    try:
        await asyncio.to_thread(requests.get, url, timeout=30)
    except requests.RequestException as error:
        raise TargetUnreachableError("s", why_not(error)) from None


@pytest.fixture(params=["unknown", "none"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ssl.SSLContext | None, str]]:
    """With TLS or without, and what is to be told of it."""
    if request.param == "none":
        yield None, "no TLS connection ("
        return
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, made = tmp_path / "key", tmp_path / "crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=s -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", made], check=True, capture_output=True, timeout=60)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made, key)
    yield tls, "no TLS connection: its certificate is not accepted (self"


@pytest.mark.parametrize("ask", [by_a_reading, by_vllm, by_triton, by_an_agent, by_prometheus])
async def test_without_tls_there_is_no_connection_and_that_is_told(
    server: tuple[ssl.SSLContext | None, str], ask: Callable[[str], Awaitable[None]]
) -> None:
    tls, why = server

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    serving = await asyncio.start_server(plain, "127.0.0.1", 0, ssl=tls)
    with pytest.raises(TargetUnreachableError) as raised:
        await ask(f"https://127.0.0.1:{serving.sockets[0].getsockname()[1]}")
    assert raised.value.why.startswith(why), "in the words of the library after that"
    serving.close()
