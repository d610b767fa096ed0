"""Stands between the control plane and a Triton's metrics page and spoils the page as a test wants."""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["", "frozen", "truncated", "nan", "error", "empty"]


class MetricsProxy:
    """`fault` may be set at any time; "frozen" repeats the page that was read last before."""

    def __init__(self, page: str) -> None:
        self.fault: Fault = ""
        self._page = page
        self._last = b""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self) -> tuple[int, bytes]:
        if self.fault == "frozen":
            return 200, self._last
        with urllib.request.urlopen(self._page, timeout=2) as answer:
            page: bytes = answer.read()
        if self.fault == "truncated":
            return 200, page[: page.index(b"nv_inference_request_success{") + 20]
        if self.fault == "nan":
            return 200, re.sub(rb"(?m)^(nv_inference\S+) \S+$", rb"\1 NaN", page)
        if self.fault == "error":
            return 500, b"internal error"
        if self.fault == "empty":
            return 200, b""
        self._last = page
        return 200, page

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = proxy._answer()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler


@contextmanager
def metrics_proxy(page: str) -> Iterator[MetricsProxy]:
    """A proxy before the page for the length of the block."""
    proxy = MetricsProxy(page)
    try:
        yield proxy
    finally:
        proxy.close()
