"""Writes the demo's model repository."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

MODELS = ("bert_classifier", "resnet50_detector", "deepfm_recommender")
"""The demo's models; the last two share one "GPU"."""


def write_repository(
    dest: Path,
    gpu_lock_dir: Path,
    names: Sequence[str] = MODELS,
    *,
    time_scale: float = 1.0,
    gpu_serial_share: float = 0.6,
    with_pycache_file: bool = True,
    fail_if_input_negative: bool = False,
) -> Path:
    """Writes a Triton model repository with the named demo models and gives its folder.

    `gpu_lock_dir` holds the lock file of each "GPU"; rigs that should not share GPUs need folders of their own.
    `time_scale` multiplies every execution time. `gpu_serial_share`: part of an execution (0 to 1) that has the GPU
    to itself, so that throughput saturates at 1 / share of one instance.
    `with_pycache_file` puts an empty file where the python backend would make its `__pycache__` folder at the first
    load. Without it the version folder is newer than the load, and Triton answers the first configuration override
    with a full reload in place of an in-place update.
    """
    source = resources.files("controlplane.demo") / "models"
    values = {
        "time_scale": f"{time_scale:g}",
        "gpu_serial_share": f"{gpu_serial_share:g}",
        "gpu_lock_dir": str(gpu_lock_dir.absolute()),
        "fail_if_input_negative": str(fail_if_input_negative).lower(),
    }
    for name in names:
        version = dest / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        config = (source / name / "config.pbtxt").read_text(encoding="utf-8")
        (dest / name / "config.pbtxt").write_text(Template(config).substitute(values), encoding="utf-8")
        (version / "model.py").write_text((source / "model.py").read_text(encoding="utf-8"), encoding="utf-8")
        if with_pycache_file:
            (version / "__pycache__").touch()
    return dest
