"""Reads NVML as the collector does, for as long as it is told to; started by the tests with the shim on its path.

Each line on standard input is a round at that time; the answer is one line: how the round ended, as JSON, with the
number of reading threads and of GPM samples that are not freed.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
import threading
from dataclasses import asdict
from functools import partial
from typing import Any

from controlplane.collect.gpu.nvml import Nvml
from controlplane.domain.signal import Known


def samples() -> int:
    """How many GPM samples the shim has handed out and not got back; 0 without the shim."""
    try:
        return int(ctypes.CDLL("libnvidia-ml.so.1").nvml_shim_samples())
    except (OSError, AttributeError):
        return 0


async def main() -> None:
    nvml = Nvml(0.5, max_age_s=15)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await nvml.read(partial(float, line))
        gpus = nvml.reading(float(line) + 1)
        threads = sum(thread.name == "controlplane-nvml" for thread in threading.enumerate())
        answer: dict[str, Any] = {"threads": threads, "samples": samples(), "kind": type(gpus).__name__}
        answer |= {"gpus": [asdict(gpu) for gpu in gpus.value]} if isinstance(gpus, Known) else asdict(gpus)
        print(json.dumps(answer), flush=True)  # noqa: T201
    nvml.close()


if __name__ == "__main__":
    asyncio.run(main())
