"""A Triton model that a test makes slow while it runs."""

from __future__ import annotations

from pathlib import Path

_CONFIG = """backend: "python"
max_batch_size: 8
dynamic_batching { }
input [ { name: "X", data_type: TYPE_FP32, dims: [ 4 ] } ]
output [ { name: "SUM", data_type: TYPE_FP32, dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""
_MODEL = """
import os, time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        time.sleep(SLOW_S if os.path.exists(SLOW) else USUAL_S)
        return [pb.InferenceResponse([pb.Tensor("SUM", np.ones((1, 1), np.float32))]) for _ in requests]
"""


def write_model(repository: Path, name: str, slow: Path, *, usual_s: float = 0.005, slow_s: float = 0.4) -> None:
    """A model that takes `usual_s` for a batch, and `slow_s` while there is the file `slow`."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(_CONFIG)
    source = _MODEL.replace("SLOW_S", str(slow_s)).replace("USUAL_S", str(usual_s)).replace("SLOW", repr(str(slow)))
    (version / "model.py").write_text(source)
    (version / "__pycache__").touch()
