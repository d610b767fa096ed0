"""How many replicas' time requests take, as a fluid, by the true fit (see perf_model).

Of LLM replicas: prefill counts when a request arrives; decode costs `b` seconds a token, spread evenly from then on
over the time that the tokens may take at the objective's ITL; both relative to the share `1 - a / S` of time that is
left at that ITL.
Of servers that batch: requests relative to what a server serves with mean latency at the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.peers.perf_model import BatchModel, LatencySlo, Slo, prefill_s
from controlplane.sim.service import BatchService, LlmService
from controlplane.sim.trace import Requests

STEP_S = 5.0
_AVERAGED = 6


def demand(requests: Requests, service: LlmService, slo: Slo) -> NDArray[np.float64]:
    """Replicas of which all the time would be used, for every 5 s of the load."""
    ends = int(requests.span_s / STEP_S) + 1
    at = (requests.at_s / STEP_S).astype(np.int64)
    busy = np.bincount(at, weights=prefill_s(service, requests.prompt_tokens), minlength=ends) / STEP_S
    # decode: every request a constant share of a replica from its arrival until its tokens may have come
    by_running = np.full(len(requests), service.itl_per_running_s / slo.itl_s)
    until = np.minimum(at + np.ceil(requests.output_tokens * slo.itl_s / STEP_S).astype(np.int64), ends)
    change = np.bincount(at, weights=by_running, minlength=ends + 1)
    change -= np.bincount(until, weights=by_running, minlength=ends + 1)
    return (busy + np.cumsum(change)[:ends]) / (1 - service.itl_base_s / slo.itl_s)


def batch_demand(requests: Requests, service: BatchService, slo: LatencySlo) -> NDArray[np.float64]:
    """Servers of which all the time would be used, for every 5 s of the load; inf where one never serves a request."""
    ends = int(requests.span_s / STEP_S) + 1
    arrived = np.bincount((requests.at_s / STEP_S).astype(np.int64), minlength=ends) / STEP_S
    one_per_s = BatchModel(service).requests_per_s(slo)
    return np.divide(arrived, one_per_s) if one_per_s else np.full(ends, np.inf)


def by_minute(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each minute, of the last one as far as it goes."""
    starts = np.arange(0, len(steps), int(60 / STEP_S))
    return np.add.reduceat(steps, starts) / np.diff(np.append(starts, len(steps)))


def averaged(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the 30 s around each step, as far as the load goes."""
    window = np.ones(_AVERAGED)
    return np.convolve(steps, window, "same") / np.convolve(np.ones(len(steps)), window, "same")


@dataclass(frozen=True, slots=True)
class Elasticity:
    """How supply follows what is needed, after SPEC (Herbst et al., TOMPECS 2018); 0 is best everywhere.

    `under`, `over`: mean of what is missing, or too much, as a share of what is needed. `under_time`, `over_time`: the
    share of the time in which something is missing, or too much.
    """

    under: float
    over: float
    under_time: float
    over_time: float


def elasticity(needed: NDArray[np.int64], supply: NDArray[np.int64]) -> Elasticity:
    """Of a supply at the same moments as what is needed, which is nowhere 0; what is longer is cut."""
    length = min(len(needed), len(supply))
    gap = (supply[:length] - needed[:length]) / needed[:length]
    under, over = np.maximum(-gap, 0.0), np.maximum(gap, 0.0)
    return Elasticity(float(under.mean()), float(over.mean()), float((under > 0).mean()), float((over > 0).mean()))
