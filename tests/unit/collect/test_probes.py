from __future__ import annotations

import json

import pytest

from controlplane.collect.probes import zeros_request
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
