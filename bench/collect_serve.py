"""Many Tritons as far as their pages go, in one process: python -m bench.collect_serve; prints its ports as JSON.

A server answers under /NAME at each port, whatever its name. Its counters move on with each metrics page.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import cast

MODELS = 40
PORTS = 16  # so many that the ends of closed connections do not use up the client's ports
_FAILURES = ("OTHER", "CANCELED", "BACKEND", "REJECTED")
_SERIES = (
    ("nv_inference_request_success", "@"),
    ("nv_inference_count", "@"),
    ("nv_inference_exec_count", "@"),
    ("nv_inference_request_duration_us", "@25000"),
    ("nv_inference_queue_duration_us", "@05000"),
    ("nv_inference_compute_input_duration_us", "@00500"),
    ("nv_inference_compute_infer_duration_us", "@19000"),
    ("nv_inference_compute_output_duration_us", "@00500"),
    ("nv_inference_pending_request_count", "1"),
    ("nv_model_load_duration_secs", "2"),
    ("nv_inference_first_response_histogram_ms_count", "@"),
)
"""Name and value on the page; @ stands for the count."""
STEP = 100
"""Growth of the count in a scrape interval."""
SCRAPES_A_PAGE = 3
"""By so many scrape intervals the count moves on from one page to the next: a tick comes with every third one."""
_BEGIN = 1_000_000


def name(model: int) -> str:
    """The served name of a model."""
    return f"classifier_{model:02}"


def page() -> str:
    """A metrics page of 600 sample lines, 15 for each model."""
    lines = []
    for series, value in _SERIES:
        lines += [f"# HELP {series} Of a model", f"# TYPE {series} counter"]
        lines += [f'{series}{{model="{name(m)}",version="1"}} {value}' for m in range(MODELS)]
    lines += ["# HELP nv_inference_request_failure Of a model", "# TYPE nv_inference_request_failure counter"]
    lines += [
        f'nv_inference_request_failure{{model="{name(m)}",reason="{reason}",version="1"}} 0'
        for m in range(MODELS)
        for reason in _FAILURES
    ]
    return "\n".join([*lines, ""])


def stats() -> str:
    """The statistics of all models, as Triton 2.51 gives them, one batch size each."""
    times = dict.fromkeys(("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"))
    model = {
        "version": "1",
        "last_inference": 1795317434390,
        "inference_count": "@",
        "execution_count": "@",
        "inference_stats": {key: {"count": "@", "ns": "@0000000"} for key in times} | {"fail": {"count": 0, "ns": 0}},
        "response_stats": {},
        "batch_stats": [
            {"batch_size": 1}
            | {key: {"count": "@", "ns": "@0000000"} for key in ("compute_input", "compute_infer", "compute_output")}
        ],
        "memory_usage": [],
    }
    text = json.dumps({"model_stats": [{"name": name(m)} | model for m in range(MODELS)]})
    return text.replace('"@"', "@").replace('"@0000000"', "@0000000")


def index() -> str:
    """The repository index."""
    return json.dumps([{"name": name(m), "version": "1", "state": "READY"} for m in range(MODELS)])


def config(model: str) -> str:
    """One model's configuration."""
    return json.dumps(
        {
            "name": model,
            "backend": "python",
            "max_batch_size": 8,
            "dynamic_batching": {"max_queue_delay_microseconds": 500},
            "instance_group": [{"name": model, "kind": "KIND_CPU", "count": 2, "gpus": []}],
        }
    )


def count(asked: int) -> int:
    """The count on the page that is answered when a server was asked for it so many times."""
    return _BEGIN + STEP * SCRAPES_A_PAGE * asked


def counting(text: str, count: int) -> str:
    """The text at that count."""
    return text.replace("@", str(count))


class _Answers:
    """What is answered to a path."""

    def __init__(self) -> None:
        self._texts = {
            "metrics": page(),
            "v2/models/stats": stats(),
            "v2/repository/index": index(),
            **{f"v2/models/{name(m)}/config": config(name(m)) for m in range(MODELS)},
        }
        self._asked: Counter[str] = Counter()

    def to(self, path: str) -> bytes:
        """The whole answer."""
        server, _, rest = path.lstrip("/").partition("/")
        if rest == "metrics":
            self._asked[server] += 1
        body = counting(self._texts[rest], count(self._asked[server])).encode()
        kind = "text/plain; charset=utf-8" if rest == "metrics" else "application/json"
        return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or (head.startswith(b"POST") and not body):
            return
        self._got = b""
        self._transport.write(self._answers.to(head.split(b" ", 2)[1].decode()))


async def main() -> None:
    """Serve until the process is ended."""
    answers = _Answers()
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: _Connection(answers), "127.0.0.1", 0, backlog=1024) for _ in range(PORTS)
    ]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
