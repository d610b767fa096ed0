"""A workload's own history as a world: its requests by minute, its replicas as they were learned, what was decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.config.settings import Settings
from controlplane.decide import learning
from controlplane.decide.replicas import tokens
from controlplane.decide.replicas.seasons import STEP_S
from controlplane.domain.errors import NotFoundError, PermanentError
from controlplane.domain.fleet import ModelSpec, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.objectives import Indicator, Objective
from controlplane.domain.ports import Store
from controlplane.domain.profiles import BatchProfile, TokenProfile
from controlplane.domain.state import Service, WorkloadState
from controlplane.loop.seasons import BACK_S, counted, requests_per_s
from controlplane.sim.peers.perf_model import BatchModel, LatencySlo, Slo
from controlplane.sim.runner import HELD_S, READ_S
from controlplane.sim.service import BatchService, LlmService
from controlplane.sim.serving import BatchServing, LlmServing, Serving
from controlplane.sim.world import Minutes

# Held by a KV cache of which no profile tells the size: too much to be what a replica runs out of.
_KV_UNTOLD = 10_000_000
_SEQS, _BATCHED_TOKENS = 256, 8192


@dataclass(frozen=True, slots=True)
class Scaled:
    """A workload whose replicas are decided, its bounds, and the models on it."""

    spec: WorkloadSpec
    bounds: ReplicaBounds
    models: tuple[ModelSpec, ...]


def scaled(settings: Settings, name: str = "") -> Scaled:
    """The workload of that name, without one the only one that is scaled.

    Raises NotFoundError naming those that there are, PermanentError where it is not scaled or one has to be named.
    """
    known = {spec.name: spec for spec in settings.fleet.workloads}
    names = tuple(spec.name for spec in known.values() if spec.replicas is not None)
    if not names:
        raise PermanentError("no workload is scaled: none has `replicas` in the configuration")
    if not name and len(names) > 1:
        raise PermanentError(f"several workloads are scaled; name one with --workload: {', '.join(names)}")
    name = name or names[0]
    if name not in known:
        raise NotFoundError("workload", name, names)
    spec = known[name]
    if spec.replicas is None:
        raise PermanentError(f"workload {name!r} is not scaled: it has no `replicas` in the configuration")
    return Scaled(
        spec, spec.replicas, tuple(m for m in settings.fleet.models if name in m.workloads and m.lora is None)
    )


def state_of(store: Store, workload: Scaled) -> WorkloadState:
    """What the decider remembers of it; nothing at first."""
    return store.load_state().workloads.get(workload.spec.name, WorkloadState())


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Requests of each minute from `since` on. `measured` of the minutes were; others are the mean of their neighbours.

    `before`: the minutes that were measured before, as in World.
    """

    since: float
    per_minute: NDArray[np.int64]
    measured: int
    before: Minutes

    @property
    def until(self) -> float:
        """Its end."""
        return self.since + STEP_S * len(self.per_minute)


def stretch(settings: Settings, workload: Scaled, store: Store, since: float, until: float) -> Stretch:
    """What arrived in the whole minutes of [since, until). Raises PermanentError where too little was measured."""
    since, until = since // STEP_S * STEP_S, until // STEP_S * STEP_S
    name, minutes = workload.spec.name, int((until - since) // STEP_S)
    objectives = counted(settings.fleet, name)
    if not objectives:
        raise PermanentError(
            f"workload {name!r}: no objective counts the requests of its models, or one is served elsewhere too"
        )
    if minutes * STEP_S <= 2 * HELD_S:
        raise PermanentError(f"a stretch of {minutes} min; more than {2 * HELD_S / STEP_S:g} min are allowed")
    rates = requests_per_s(objectives, store, since - BACK_S, until)
    per_s = np.array([rates.get(since + minute * STEP_S, np.nan) for minute in range(minutes)])
    measured = int(np.isfinite(per_s).sum())
    if not measured or not np.nansum(per_s):
        raise PermanentError(f"workload {name!r}: the store holds no requests of that time")
    earlier = [(start + STEP_S - since, rate) for start, rate in rates.items() if start < since]
    before = np.array(earlier, np.float64).reshape(-1, 2)
    return Stretch(since, np.rint(filled(per_s) * STEP_S).astype(np.int64), measured, before)


def filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, those that are nan as the mean of the nearest ones before and after; at an end there is one only."""
    at = np.flatnonzero(np.isfinite(values))
    after = np.searchsorted(at, np.arange(len(values)))
    here = at[np.minimum(after, len(at) - 1)]
    before = np.where(after < len(at), at[np.maximum(after - 1, 0)], at[-1])
    return np.where(np.isfinite(values), values, (values[before] + values[here]) / 2)


@dataclass(frozen=True, slots=True)
class Learned:
    """How a replica serves by what was learned of it, and the mean tokens of a request; 1 and 1 where there are none.

    `target`: the share that its objectives ask for. `words` say what was taken to be so.
    """

    serving: Serving
    target: float
    prompt_tokens: int = 1
    output_tokens: int = 1
    words: tuple[str, ...] = ()


def learned(
    workload: Scaled, state: WorkloadState, *, prompt_tokens: int | None = None, output_tokens: int | None = None
) -> Learned:
    """From the decider's memory. Given tokens count before those that were learned.

    Raises PermanentError where nothing is learned yet, or an objective is missing or never met.
    """
    if workload.spec.kind is ServerKind.TRITON:
        return _batches(workload, state)
    return _tokens(workload, state, prompt_tokens, output_tokens)


def _services(workload: Scaled, state: WorkloadState) -> list[Service]:
    """What was learned of each of its models: one stands for all, that of which most is known."""
    return [state.services.get(model.name, Service()) for model in workload.models]


def _tokens(workload: Scaled, state: WorkloadState, prompt_tokens: int | None, output_tokens: int | None) -> Learned:
    profile = next((m.profile for m in workload.models if isinstance(m.profile, TokenProfile)), None)
    sums = max(_services(workload, state), key=lambda s: s.tokens.readings).tokens
    found = tokens.service(sums, profile)
    if found is None:
        raise _unlearned(workload)
    ttft, itl = (_tightest(workload, indicator) for indicator in (Indicator.TTFT, Indicator.INTER_TOKEN_LATENCY))
    slo = Slo(ttft.threshold_s or 0.0, itl.threshold_s or 0.0)
    if found.base_s >= slo.itl_s:
        raise PermanentError(
            f"workload {workload.spec.name!r}: an iteration was learned to take {found.base_s:.3g} s at least; "
            f"the objective is {slo.itl_s:g} s between tokens"
        )
    seqs = (profile and profile.max_num_seqs) or _SEQS
    kv_tokens = profile.kv_tokens if profile else None
    service = LlmService(
        itl_base_s=max(found.base_s, 1e-6),
        itl_per_running_s=found.per_running_s,
        prefill_base_s=found.per_request_s,
        prefill_per_token_s=found.per_prompt_s,
        kv_tokens=kv_tokens or _KV_UNTOLD,
        max_num_seqs=seqs,
        max_batched_tokens=max(_BATCHED_TOKENS, 2 * seqs),
        gpus=workload.spec.gpus_per_replica,
    )
    # per second of the busy stretches: tokens generated, tokens of prompts, requests
    _, output, prompt, requests = sums.totals
    means = [
        given if given is not None else _mean(total, requests, option)
        for given, total, option in (
            (prompt_tokens, prompt, "--prompt-tokens"),
            (output_tokens, output, "--output-tokens"),
        )
    ]
    words = [f"every request has {means[0]} prompt and {means[1]} output tokens, the mean"]
    words += [] if kv_tokens else ["the KV cache is no limit: no profile tells its size"]
    return Learned(LlmServing(service, slo), max(ttft.target, itl.target), means[0], means[1], tuple(words))


def _mean(total: float, requests: float, option: str) -> int:
    if requests <= 0 or total <= 0:
        raise PermanentError(f"the tokens of a request are not learned yet: tell their mean with {option}")
    return max(1, round(total / requests))


def _batches(workload: Scaled, state: WorkloadState) -> Learned:
    profile = next((m.profile for m in workload.models if isinstance(m.profile, BatchProfile)), None)
    sums = max(_services(workload, state), key=lambda s: sum(b.executions for b in s.batches)).batches
    seen = [(s.executions, s.instances) for s in sums] or [(0.0, profile.instances if profile else 1)]
    largest, instances = max((s.size for s in sums), default=profile.max_batch if profile else 1), max(seen)[1]
    curve = learning.curve(sums, largest, profile)
    if curve is None:
        raise _unlearned(workload)
    goal, line = _tightest(workload, Indicator.LATENCY), curve.line(instances)
    service = BatchService(
        line.fixed_s, line.per_item_s, largest, instances=instances, gpus=workload.spec.gpus_per_replica
    )
    serving = BatchServing(service, LatencySlo(goal.threshold_s or 0.0))
    if not BatchModel(service).requests_per_s(serving.slo):
        raise PermanentError(
            f"workload {workload.spec.name!r}: no replica as learned answers within {goal.threshold_s} s"
        )
    words = (f"batches are up to {largest}, the largest that was learned of, on {instances} instances",)
    return Learned(serving, goal.target, words=words)


def _unlearned(workload: Scaled) -> PermanentError:
    return PermanentError(f"workload {workload.spec.name!r}: how fast a replica serves is not learned yet")


def _tightest(workload: Scaled, indicator: Indicator) -> Objective:
    found = [o for m in workload.models for o in m.objectives if o.indicator is indicator and o.threshold_s]
    if not found:
        raise PermanentError(f"workload {workload.spec.name!r}: its models have no objective on {indicator.value}")
    return min(found, key=lambda objective: objective.threshold_s or 0.0)


def decided(workload: Scaled, store: Store, since: float, until: float) -> NDArray[np.int64]:
    """Replicas that were decided on at every READ_S of [since, until), whether or not they came; empty: nothing was."""
    model = workload.models[0].name
    found = sorted(
        (record.decision.at, record.decision.target.instances)
        for record in store.decisions(model, 1_000_000)
        if record.decision.server == workload.spec.name and record.decision.target is not None
    )
    found = [(at, replicas) for at, replicas in found if at < until]
    if not found:
        return np.zeros(0, np.int64)
    at, replicas = np.array(found).T
    last = np.searchsorted(at, np.arange(since, until, READ_S), side="right") - 1
    # before the first decision: as it was then
    return np.asarray(replicas[np.maximum(last, 0)], np.int64)
