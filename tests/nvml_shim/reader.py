"""Reads NVML as the collector does, for as long as it is told to; started by the tests with the shim on its path.

Each line on standard input is a round (its text is ignored); the answer is one line: how the round ended, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from dataclasses import asdict
from typing import Any

from controlplane.collect.nvml import Nvml
from controlplane.domain.signal import Known


async def main() -> None:
    nvml = Nvml(0.5, max_age_s=15)
    while await asyncio.to_thread(sys.stdin.readline):
        await nvml.read(lambda: 100.0)
        gpus = nvml.reading(101.0)
        threads = sum(thread.name == "controlplane-nvml" for thread in threading.enumerate())
        answer: dict[str, Any] = {"threads": threads, "kind": type(gpus).__name__}
        answer |= {"gpus": [asdict(gpu) for gpu in gpus.value]} if isinstance(gpus, Known) else asdict(gpus)
        print(json.dumps(answer), flush=True)  # noqa: T201
    nvml.close()


if __name__ == "__main__":
    asyncio.run(main())
