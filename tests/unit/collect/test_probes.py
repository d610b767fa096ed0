from __future__ import annotations

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from controlplane.collect.http import Pages
from controlplane.collect.probes.prober import Prober, in_words
from controlplane.collect.probes.probing import Probing
from controlplane.collect.probes.triton import zeros_request
from controlplane.collect.servers import scraped
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.wire import Tensor
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ProbeSpec, ServerKind, ServerSpec


def test_a_request_of_zeros_has_every_input_with_free_dimensions_as_one() -> None:
    body, headers = zeros_request(
        [
            Tensor(name="X", datatype="FP16", shape=[-1, 3, -1]),
            Tensor(name="T", datatype="BYTES", shape=[1, 2]),
        ]
    )
    length = int(headers["Inference-Header-Content-Length"])
    request = json.loads(body[:length])
    assert [(tensor["name"], tensor["shape"], tensor["datatype"]) for tensor in request["inputs"]] == [
        ("X", [1, 3, 1], "FP16"),
        ("T", [1, 2], "BYTES"),
    ]
    assert [tensor["parameters"]["binary_data_size"] for tensor in request["inputs"]] == [6, 8]
    assert body[length:] == bytes(14)


def test_a_data_type_nobody_knows_is_named() -> None:
    with pytest.raises(MalformedPageError, match="FP4"):
        zeros_request([Tensor(name="X", datatype="FP4", shape=[1])])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "in Triton\'s form"}', "in Triton's form"),
        (b'{"error": {"message": "in OpenAI\'s", "type": "x"}}', "in OpenAI's"),
        (b'{"error": {"reason": "odd"}}', '{"reason": "odd"}'),
        (b'{"object": "error", "message": "as vLLM once had it"}', "as vLLM once had it"),
        (b'{"detail": "FastAPI\'s"}', "FastAPI's"),
        (b"<html>", "HTTP 502"),
        (b"[]", "HTTP 502"),
        (None, "HTTP 502"),
    ],
)
def test_an_error_is_told_in_the_words_of_each_form(body: bytes | None, words: str) -> None:
    assert in_words(502, body) == words


async def test_a_probe_that_a_fault_of_ours_has_ended_is_at_work_again_with_the_next_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults = [RuntimeError("boom")]

    async def run(self: Prober) -> None:
        if faults:
            raise faults.pop()
        await asyncio.Event().wait()

    monkeypatch.setattr(Prober, "run", run)
    model = ModelSpec("m", "m", ("t",), Mode.OBSERVE, probe=ProbeSpec(10, 1))
    spec = ServerSpec("t", ServerKind.TRITON, "http://x", "http://x/metrics")
    reader = TritonServer(spec, [model], scraped(spec, [model]), max_age_s=15, keep_s=60)
    pages = Pages()
    probing = Probing(pages, lambda: 0.0, 60)
    probing.follow(Fleet((spec,), (model,)), {"t": reader}, 0)
    with capture_logs() as logs:
        for _ in range(3):
            probing.start()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    at_work = [task for task in asyncio.all_tasks() if task.get_name() == "probe m on t"]
    await probing.close()
    assert [entry["event"] for entry in logs] == ["probing ended unexpectedly"]
    assert len(at_work) == 1
