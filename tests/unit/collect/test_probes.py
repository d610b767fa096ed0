from __future__ import annotations

import json

import pytest

from controlplane.collect.probe_triton import zeros_request
from controlplane.collect.probes import in_words
from controlplane.collect.triton_wire import Tensor
from controlplane.domain.errors import MalformedPageError


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
