"""A small Kubernetes API server: lists, watches, writes and the ways in which a real one fails."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.kube.errors import gone
from tests.kube.faults import Fault, Faults
from tests.kube.handler import Handler
from tests.kube.objects import Objects
from tests.kube.rights import Rule


class Request(NamedTuple):
    """One that was made: when (monotonic), what, and the status of the answer."""

    at: float
    verb: str
    resource: str
    status: int


class ApiServer:
    """Serves on a loopback port until closed. `token`: what a client must show, "": nothing."""

    def __init__(self, *, token: str = "", bookmark_s: float = 0.5, tls: ssl.SSLContext | None = None) -> None:
        self.objects = Objects()
        self.faults = Faults()
        self.token = token
        self.rights: dict[str, Sequence[Rule]] = {}
        """Tokens that may do only what these rules say; who shows `token` may do all."""
        self.bookmark_s = bookmark_s
        self._tls = tls
        self.requests: list[Request] = []
        self.watches: set[Handler] = set()
        self.closing = threading.Event()
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve; after `stop` on the same port again, with the objects of before."""
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server = _Http(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="kube-api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more: connections break off, new ones are refused."""
        self.closing.set()
        self.faults.heal()
        self._server.shutdown()
        self.drop_connections()
        with self.objects.changed:
            self.objects.changed.notify_all()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, code: int, **fault: Any) -> None:
        """Answer requests with an error, see Fault."""
        self.faults.add(Fault(code, **fault))

    def forbid(self, verb: str, resource: str) -> None:
        """Answer as the authoriser does."""
        group = "discovery.k8s.io" if resource == "endpointslices" else ""
        told = f'{resource} is forbidden: User "system:serviceaccount:ml:default" cannot {verb} resource "{resource}"'
        self.answer(403, verb=verb, resource=resource, message=f'{told} in API group "{group}" in the namespace "ml"')

    def hang(self, verb: str = "", resource: str = "") -> None:
        """Take requests and answer none."""
        self.answer(0, verb=verb, resource=resource)

    def heal(self) -> None:
        """No fault any more."""
        self.faults.heal()

    def drop_watches(self) -> None:
        """Break the connections of the watches under way."""
        for handler in tuple(self.watches):
            _break(handler.connection)

    def expire_watches(self) -> None:
        """Compact the history and tell the watches under way that their version is gone."""
        with self.objects.changed:
            self.objects.compact()
            for handler in tuple(self.watches):
                handler.failing = gone()
            self.objects.changed.notify_all()

    def drop_connections(self) -> None:
        """Break all connections."""
        for connection in tuple(self._connections):
            _break(connection)

    def asked(self, verb: str, resource: str) -> list[Request]:
        """The requests of a kind that were made so far."""
        return [request for request in self.requests if (request.verb, request.resource) == (verb, resource)]

    def note(self, verb: str, resource: str, status: int) -> None:
        self.requests.append(Request(time.monotonic(), verb, resource, status))

    def kubeconfig(self, token: str = "") -> str:
        """The text of a kubeconfig for this server; `token` in place of the one that may do all."""
        shown = token or self.token
        user = {"token": shown} if shown else {}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": self.url}}],
                "users": [{"name": "test", "user": user}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }
        )


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them, so that no socket is left over
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: ApiServer) -> None:
        self.api = api
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.api._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.api._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is no error here."""


def _break(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
