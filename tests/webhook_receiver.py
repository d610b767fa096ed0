"""A receiver that keeps what a real Alertmanager posts to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_DEADLINE_S = 60.0


class WebhookReceiver:
    """Keeps the bodies that are posted to it, in the order in which they came."""

    def __init__(self) -> None:
        posts: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                posts.append(body | {"path": self.path, "authorization": self.headers["Authorization"]})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.posts = posts
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()

    def alerts(self, status: str, **labels: str) -> list[dict[str, Any]]:
        """All alerts posted so far that have this status and these labels."""
        return [
            alert
            for post in list(self.posts)
            for alert in post["alerts"]
            if alert["status"] == status and labels.items() <= alert["labels"].items()
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def until(is_so: Callable[[], object], what: str, deadline_s: float = _DEADLINE_S) -> None:
    """Wait for something that other processes do, up to a deadline."""
    end = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline_s:g} s not so that {what}")
        time.sleep(0.05)
