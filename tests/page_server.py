"""An HTTP server of pages that a test writes while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Pages:
    """Metrics pages that a test writes, by path, at one address."""

    address: str
    by_path: dict[str, str]


@contextmanager
def pages_served() -> Iterator[Pages]:
    by_path: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = by_path.get(self.path)
            self.send_response(200 if text is not None else 500)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Pages(f"127.0.0.1:{server.server_address[1]}", by_path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
