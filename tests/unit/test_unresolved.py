"""A host name that no name server knows is told as that, whoever asks and whichever library he asks by."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
from collections.abc import Callable
from unittest.mock import Mock

import aiohttp
import pytest
import requests
import urllib3

from controlplane.act import connecting
from controlplane.cli.client import Api
from controlplane.cli.listen import bind
from controlplane.collect import http as pages
from controlplane.collect.prometheus.http import why_not
from controlplane.domain.errors import UNRESOLVED, ConflictError, TargetUnreachableError
from controlplane.kube.connection import _connection
from controlplane.publish.alerting.alertmanager import Alertmanager

UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
KEY = Mock(host="nowhere", port=80, ssl=True)
NOT_FOUND = aiohttp.ClientConnectorDNSError(KEY, UNKNOWN)


def by_urllib3() -> urllib3.exceptions.MaxRetryError:
    inner = urllib3.exceptions.NameResolutionError("nowhere", Mock(), UNKNOWN)
    inner.__cause__ = UNKNOWN
    error = urllib3.exceptions.MaxRetryError(Mock(), "/", inner)
    error.__cause__ = inner
    return error


@pytest.mark.parametrize(
    "told",
    [
        lambda: connecting.why_not(NOT_FOUND),
        lambda: pages._why(NOT_FOUND),
        lambda: why_not(requests.ConnectionError(by_urllib3())),
        lambda: _connection(by_urllib3(), 1.0),
    ],
    ids=["act", "collect", "prometheus", "kubernetes"],
)
def test_a_name_that_does_not_resolve_is_told_as_that(told: Callable[[], str]) -> None:
    assert told().startswith(("its host name", "the host name of the API server"))
    assert told().endswith("does not resolve")


def test_what_else_can_happen_to_a_connection_is_told_too() -> None:
    refused = aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 80)"))
    assert connecting.why_not(refused) == "connection refused"
    assert connecting.why_not(aiohttp.InvalidURL("x")) == "its URL is not valid"
    assert connecting.why_not(UNKNOWN) == str(UNKNOWN), "no number of the system's"
    assert connecting.why_not(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    assert pages._why(aiohttp.ClientOSError(socket.EAI_NONAME, "x")) == "ClientOSError"


def test_an_alertmanager_whose_name_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def post(*_: object, **__: object) -> None:
        raise NOT_FOUND

    monkeypatch.setattr(aiohttp.ClientSession, "post", post)

    async def send() -> None:
        alertmanager = Alertmanager("http://nowhere")
        try:
            await alertmanager.post(())
        finally:
            await alertmanager.close()

    with pytest.raises(TargetUnreachableError, match=f"^http://nowhere: {UNRESOLVED}$"):
        asyncio.run(send())


def test_an_address_to_listen_on_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = OSError(UNKNOWN.errno, "Name or service not known (while attempting to bind on address ('nowhere', 0))")
    monkeypatch.setattr(socket, "create_server", Mock(side_effect=wrapped))
    with pytest.raises(ConflictError) as raised:
        bind("nowhere", 8900)
    assert str(raised.value) == f"cannot listen on nowhere port 8900: {UNRESOLVED}; set api.host or api.port"


def test_a_url_of_the_control_plane_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "request", Mock(side_effect=UNKNOWN))
    with pytest.raises(TargetUnreachableError) as raised:
        Api("http://nowhere:8900").get("/api/v1/fleet")
    assert str(raised.value) == f"http://nowhere:8900: {UNRESOLVED}; set --url or CONTROLPLANE_URL"
