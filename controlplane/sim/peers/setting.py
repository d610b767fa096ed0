"""What policies are told of the pool that they scale: its objective, and the true model of a replica.

Of both kinds: `requests_per_s`, `in_flight` and `used_share` of a replica at its capacity by the model, `strain` and
`engine` as llm-d and Dynamo need them.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.sim.peers.dynamo import BatchEngine, Engine, LlmEngine
from controlplane.sim.peers.llm_d import Strain, latency_strain, token_strain
from controlplane.sim.peers.perf_model import BatchModel, LatencySlo, PerfModel, Slo


@dataclass(frozen=True, slots=True)
class LlmSetting:
    """vLLM-like replicas under the mean requests of the load. `used_share` is of the KV cache."""

    slo: Slo
    model: PerfModel

    @property
    def requests_per_s(self) -> float:
        """The largest rate inside the objective."""
        return self.model.requests_per_s(self.slo)

    @property
    def in_flight(self) -> float:
        """Requests held at that rate."""
        return self.model.running(self.slo)

    @property
    def used_share(self) -> float:
        """Share of the KV cache that they use."""
        held = self.model.prompt_tokens + self.model.output_tokens / 2
        return self.in_flight * held / self.model.service.kv_tokens

    @property
    def saturation(self) -> float:
        """How full WVA takes a replica to be that is at its capacity by the model."""
        service, prompt, output = self.model.service, self.model.prompt_tokens, self.model.output_tokens
        together = min(service.max_batched_tokens * output / (prompt + output), service.max_num_seqs)
        return max(self.in_flight / together, self.used_share / 0.8)

    @property
    def strain(self) -> Strain:
        """Latencies relative to their objectives."""
        return token_strain(self.slo)

    def engine(self, share: float) -> Engine:
        """A replica whose SLA is a share of the objectives."""
        return LlmEngine(self.model.service, self.slo.times(share))


@dataclass(frozen=True, slots=True)
class BatchSetting:
    """Triton-like servers. `used_share` is of the time in which a server executes anything."""

    slo: LatencySlo
    model: BatchModel

    @property
    def requests_per_s(self) -> float:
        """The largest rate inside the objective."""
        return self.model.requests_per_s(self.slo)

    @property
    def in_flight(self) -> float:
        """Requests held at that rate."""
        return self.model.in_flight(self.slo)

    @property
    def used_share(self) -> float:
        """All the time: at that rate batches follow each other."""
        return 1.0

    @property
    def strain(self) -> Strain:
        """Latency relative to its objective."""
        return latency_strain(self.slo)

    def engine(self, share: float) -> Engine:
        """A server whose SLA is a share of the objective."""
        return BatchEngine(self.model.service, self.slo.times(share))


Setting = LlmSetting | BatchSetting
