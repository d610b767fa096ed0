"""What replicas are and what counts as served: one kind of pool under one objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.errors import PermanentError
from controlplane.sim.demand import batch_demand, demand
from controlplane.sim.llm import LlmPool
from controlplane.sim.peers.perf_model import BatchModel, LatencySlo, PerfModel, Slo
from controlplane.sim.peers.setting import BatchSetting, LlmSetting, Setting
from controlplane.sim.results import Results
from controlplane.sim.runner import Pool
from controlplane.sim.service import BatchService, LlmService
from controlplane.sim.signals import LATENCY_EDGES_S
from controlplane.sim.trace import Requests
from controlplane.sim.triton import BatchPool

LLM_SERVICE, BATCH_SERVICE = "llama-3.1-8b-a100-tp2", "bert-large-t4-onnx"
"""Services where none is named."""


class Serving(Protocol):
    """One kind of replica under one objective (LlmServing and BatchServing are those that there are)."""

    @property
    def has_tokens(self) -> bool:
        """Whether requests are prompts, and replicas hold a KV cache."""
        ...

    @property
    def slo(self) -> Slo | LatencySlo:
        """The objective of a request."""
        ...

    @property
    def objective(self) -> str:
        """The objective in words."""
        ...

    def check(self, requests: Requests) -> None:
        """Raises PermanentError for a request that no replica can hold."""
        ...

    def pool(self, requests: Requests, replicas: int) -> Pool:
        """So many replicas, ready from 0 on, under a load."""
        ...

    def setting(self, requests: Requests) -> Setting:
        """What a policy is told of it."""
        ...

    def demand(self, requests: Requests) -> NDArray[np.float64]:
        """Replicas of which all the time would be used, for every 5 s of a load (see demand.py)."""
        ...

    def is_inside(self, results: Results) -> NDArray[np.bool_]:
        """Whether each request was finished inside the objective."""
        ...


@dataclass(frozen=True, slots=True)
class LlmServing:
    """vLLM-like replicas, by the time to the first token and the mean time between the others."""

    service: LlmService
    slo: Slo
    has_tokens: ClassVar[bool] = True

    @property
    def objective(self) -> str:
        """The objective in words."""
        return f"first token within {self.slo.ttft_s:g} s and {self.slo.itl_s * 1000:g} ms between tokens on average"

    def check(self, requests: Requests) -> None:
        """Raises PermanentError for a request that the KV cache cannot hold."""
        most = int((requests.prompt_tokens.astype(np.int64) + requests.output_tokens).max())
        if most > self.service.kv_tokens:
            raise PermanentError(f"a request of {most} tokens; a replica holds {self.service.kv_tokens}")

    def pool(self, requests: Requests, replicas: int) -> LlmPool:
        """So many replicas, ready from 0 on, under a load."""
        return LlmPool(self.service, requests, replicas=replicas)

    def setting(self, requests: Requests) -> LlmSetting:
        """What a policy is told of it."""
        mean = (float(tokens.mean()) for tokens in (requests.prompt_tokens, requests.output_tokens))
        return LlmSetting(self.slo, PerfModel(self.service, *mean))

    def demand(self, requests: Requests) -> NDArray[np.float64]:
        """Replicas of which all the time would be used."""
        return demand(requests, self.service, self.slo)

    def is_inside(self, results: Results) -> NDArray[np.bool_]:
        """Whether each request was finished inside the objective; one token alone has no ITL to miss."""
        itl_fits = np.isnan(results.mean_itl_s) | (results.mean_itl_s <= self.slo.itl_s)
        return np.isfinite(results.e2e_s) & (results.ttft_s <= self.slo.ttft_s) & itl_fits


@dataclass(frozen=True, slots=True)
class BatchServing:
    """Triton-like servers, by latency at the gateway, whose histogram has an edge at the objective."""

    service: BatchService
    slo: LatencySlo
    has_tokens: ClassVar[bool] = False

    @property
    def objective(self) -> str:
        """The objective in words."""
        return f"answered within {self.slo.latency_s * 1000:g} ms"

    def check(self, requests: Requests) -> None:
        """Requests are all alike."""

    def pool(self, requests: Requests, replicas: int) -> BatchPool:
        """So many servers, ready from 0 on, under a load."""
        edges_s = tuple(sorted({*LATENCY_EDGES_S, self.slo.latency_s}))
        return BatchPool(self.service, requests, replicas=replicas, latency_edges_s=edges_s)

    def setting(self, requests: Requests) -> BatchSetting:  # noqa: ARG002 (requests are all alike)
        """What a policy is told of it."""
        return BatchSetting(self.slo, BatchModel(self.service))

    def demand(self, requests: Requests) -> NDArray[np.float64]:
        """Servers of which all the time would be used."""
        return batch_demand(requests, self.service, self.slo)

    def is_inside(self, results: Results) -> NDArray[np.bool_]:
        """Whether each request was answered inside the objective; one that was refused was not."""
        return np.isfinite(results.e2e_s) & (results.e2e_s <= self.slo.latency_s)
