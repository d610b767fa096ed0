"""A gateway before a Triton: it sends requests at a pace, times each, and tells it on a metrics page of its own."""

from __future__ import annotations

import threading
import time

import tritonclient.grpc as triton
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from tritonclient.utils import InferenceServerException

from tests.e2e.traffic import row

EDGES_S = (0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0)
HISTOGRAM = "gateway_request_duration_seconds"
_CLIENTS = 8
_GIVEN_UP_S = 4


class Gateway:
    """Sends `per_s` requests a second for one model, fewer where its clients all wait, and has `answered` so many.

    `page` is where it tells.
    """

    def __init__(self, triton_url: str, model: str, per_s: float) -> None:
        self.model = model
        self.per_s = per_s
        self.answered = 0
        self._lock = threading.Lock()
        registry = CollectorRegistry()
        self._seconds = Histogram(
            HISTOGRAM, "Time to the answer.", ("model", "code"), buckets=EDGES_S, registry=registry
        )
        self._server, self._server_thread = start_http_server(0, "127.0.0.1", registry)
        self.page = f"http://127.0.0.1:{self._server.server_port}/metrics"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(triton_url, model)) for _ in range(_CLIENTS)]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def go_dark(self) -> None:
        """The page is gone; requests go on."""
        if self._server_thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._server_thread.join()

    def end(self) -> None:
        """No more requests, and no page."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self.go_dark()

    def _send(self, url: str, model: str) -> None:
        with triton.InferenceServerClient(url) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    client.infer(model, row(), client_timeout=_GIVEN_UP_S)
                    code = "200"
                except InferenceServerException:
                    code = "504"
                took_s = time.monotonic() - began
                self._seconds.labels(model, code).observe(took_s)
                with self._lock:
                    self.answered += 1
                self._stop.wait(max(0.0, _CLIENTS / self.per_s - took_s))
