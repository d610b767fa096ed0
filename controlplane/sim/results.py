"""What came of a simulated load: every request's times and every replica's life."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReplicaLife:
    """One replica: billed from `started_s`, takes traffic from `ready_s` (inf: not known to become ready).

    `ended_s` is inf where it has not ended; `end` says what ended it.
    """

    id: int
    started_s: float
    ready_s: float
    ended_s: float
    end: Literal["drained", "failed", "not ended"]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything up to `at_s`. Arrays are by request, in the order of arrival.

    `ttft_s`, `e2e_s`: seconds from arrival at the gateway to the first and the last token, retries included; nan where
    it has not come. `mean_itl_s`: mean seconds between tokens; nan for one token or not finished. `replica`: the id
    that the request was last sent to, -1: to none. `in_system_s`: requests in the system (gateway queue included)
    integrated over time, from events alone and not from those times: Little's law compares the two.
    """

    at_s: float
    ttft_s: Seconds
    mean_itl_s: Seconds
    e2e_s: Seconds
    replica: npt.NDArray[np.int32]
    lives: tuple[ReplicaLife, ...]
    gpus: int
    in_system_s: float

    @property
    def gpu_s(self) -> float:
        """GPU-seconds billed: every replica from its start to its end (or `at_s`), times the GPUs of a replica."""
        return self.gpu_s_until(self.at_s)

    def gpu_s_until(self, at_s: float) -> float:
        """GPU-seconds billed up to a moment that is not before the last start."""
        return self.gpus * math.fsum(min(life.ended_s, at_s) - life.started_s for life in self.lives)
