"""From points measured under load to a profile, or the reason why they make none.

Triton: seconds per batch on its size. Where only loads were measured, sizes follow from queueing relations: by Little's
law (1961, https://doi.org/10.1287/opre.9.3.383) throughput times compute time is how many items execute, which busy
instances share between them as one batch each. vLLM: time between tokens on running requests, time to the
first token on tokens of the prompt where nobody waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.decide.fitting import Weighed, fit_line
from controlplane.domain.errors import ProfileError
from controlplane.domain.profiles import BatchProfile, TokenProfile

# What is larger by less counts as the same batch size or load.
_DISTINCT = 1.1
# A larger batch, or more running requests, may seem faster by so much; more is a contradiction.
_NOISE = 0.15
# Points with less than this share of the weight tell too little to contradict others.
_SELDOM = 0.01
# Points that scatter by more than this around the line do not follow it.
_SCATTER = 0.30
# Loads up to this many times the lowest tell of requests that do not wait.
_LOWEST = 1.5


@dataclass(frozen=True, slots=True)
class BatchPoint:
    """Executions of batches of `size` items: seconds that each took, and how many there were."""

    size: float
    service_s: float
    executions: float = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a client with `concurrency` requests of `items` items in flight saw of a Triton.

    `compute_s` is the mean compute time of requests as Triton counts it, the whole of their batch's; None: not told.
    """

    concurrency: float
    items_per_s: float
    items: int = 1
    compute_s: float | None = None


@dataclass(frozen=True, slots=True)
class TokenPoint:
    """Means of `requests` requests on a server that generates tokens, `in_flight` of them at a time.

    `latency_s` is to the last token, `ttft_s` to the first, `itl_s` between them.
    """

    in_flight: float
    latency_s: float
    ttft_s: float
    itl_s: float
    prompt_tokens: float
    output_tokens: float
    requests: float = 1.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where points come from, in words, and when they were measured (unix seconds)."""

    source: str
    measured_at: float


def batch_of(load: Load, max_batch: int, instances: int) -> BatchPoint | None:
    """Size and seconds of the batches that a load made; None where it does not tell them.

    With compute times the size is that of busy instances: while some idle at times it is more than this says. Without,
    a request of its own for each instance is a batch, network included, and twice as many items as all instances take
    keep them busy with full ones; what lies between may be either. Raises ProfileError.
    """
    if load.items_per_s <= 0 or load.concurrency <= 0:
        raise ProfileError(
            f"a load of {load.concurrency:g} requests in flight with {load.items_per_s:g} items/s is none"
        )
    if load.compute_s is not None:
        size = load.items_per_s * load.compute_s / instances
        return BatchPoint(max(load.items, min(size, max_batch)), load.compute_s)
    if load.concurrency <= instances:
        return BatchPoint(load.items, load.concurrency * load.items / load.items_per_s)
    if load.concurrency * load.items >= 2 * instances * max_batch:
        return BatchPoint(max_batch, instances * max_batch / load.items_per_s)
    return None


def fit_batches(points: Sequence[BatchPoint], *, max_batch: int, instances: int, origin: Origin) -> BatchProfile:
    """The batching line through `points`. Raises ProfileError."""
    weighed = [Weighed(p.size, p.service_s, p.executions) for p in points]
    _check_numbers(weighed)
    if len(points) < 2 or (max_batch > 1 and not _distinct(weighed)):
        raise ProfileError(
            f"{_few(weighed, 'batches of', 'items')}: at least two sizes of batches are needed for a line up to"
            f" {max_batch}; measure at more concurrency, or tell the largest batch that really comes together"
            if max_batch > 1
            else f"{_few(weighed, 'batches of', 'items')}: at least two loads are needed"
        )
    _check_order(weighed, "batches of {:g} take {:.4g} s, and batches of {:g} only {:.4g} s")
    fixed_s, per_item_s = fit_line(weighed)
    error = _relative_error(weighed, fixed_s, per_item_s)
    _check_scatter(error)
    return BatchProfile(
        fixed_s, per_item_s, max_batch, instances, origin.source, origin.measured_at, len(points), error
    )


def fit_tokens(
    points: Sequence[TokenPoint],
    *,
    origin: Origin,
    alone: Sequence[Weighed] = (),
    kv_tokens: int | None = None,
    max_num_seqs: int | None = None,
) -> TokenProfile:
    """The lines of tokens through `points`; prefill is from those of the lowest load and from `alone`.

    `alone` are seconds to the first token by tokens of the prompt, of one request at a time. With prompts of one length
    they are taken to be proportional to it. Raises ProfileError.
    """
    _check_numbers([Weighed(p.in_flight, p.latency_s, p.requests) for p in points])
    prefill_base_s, prefill_per_token_s = _fit_prefill(points, alone)
    weighed = [
        Weighed(_running(p, prefill_base_s + prefill_per_token_s * p.prompt_tokens), p.itl_s, p.requests)
        for p in points
    ]
    _check_numbers(weighed)
    if not _distinct(weighed):
        raise ProfileError(f"{_few(weighed, '', 'running requests')}: at least two loads are needed for a line")
    _check_order(weighed, "{:.3g} running requests take {:.4g} s for a token, and {:.3g} only {:.4g} s")
    base_s, per_running_s = fit_line(weighed)
    error = _relative_error(weighed, base_s, per_running_s)
    _check_scatter(error)
    requests = sum(p.requests for p in points)
    return TokenProfile(
        base_s,
        per_running_s,
        prefill_base_s,
        prefill_per_token_s,
        kv_tokens=kv_tokens,
        max_num_seqs=max_num_seqs,
        prompt_tokens=sum(p.requests * p.prompt_tokens for p in points) / requests,
        output_tokens=sum(p.requests * p.output_tokens for p in points) / requests,
        source=origin.source,
        measured_at=origin.measured_at,
        points=len(points),
        relative_error=error,
    )


def _fit_prefill(points: Sequence[TokenPoint], alone: Sequence[Weighed]) -> tuple[float, float]:
    """The line of the time to the first token where next to nobody waits."""
    lowest = min(p.in_flight for p in points)
    unhurried = [Weighed(p.prompt_tokens, p.ttft_s, p.requests) for p in points if p.in_flight <= _LOWEST * lowest]
    prefill = [*alone, *unhurried]
    _check_numbers(prefill)
    return fit_line(prefill)


def _running(point: TokenPoint, prefill_s: float) -> float:
    """Requests that run: those in flight without those that wait, for what their first token takes beyond prefill."""
    waits_s = max(0.0, point.ttft_s - prefill_s)
    return point.in_flight * (1 - waits_s / point.latency_s)


def _check_numbers(points: Sequence[Weighed]) -> None:
    if not points:
        raise ProfileError("no load was measured that tells anything: at least two loads are needed")
    for point in points:
        if not all(math.isfinite(value) and value > 0 for value in point):
            raise ProfileError(f"a point of {point.x:g} with {point.y:g} s is none: both must be above 0")


def _distinct(points: Sequence[Weighed]) -> bool:
    return max(p.x for p in points) > _DISTINCT * min(p.x for p in points)


def _few(points: Sequence[Weighed], before: str, behind: str) -> str:
    low, high = min(p.x for p in points), max(p.x for p in points)
    amount = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    return " ".join(("only", *filter(None, (before, amount, behind)), "were measured"))


def _check_order(points: Sequence[Weighed], sentence: str) -> None:
    """Raises ProfileError where more of something takes less time than less of it, beyond noise."""
    most = sum(p.weight for p in points)
    pooled = sorted(p for p in _pooled(points) if p.weight >= _SELDOM * most)
    for i, high in enumerate(pooled):
        for low in pooled[:i]:
            if high.x > _DISTINCT * low.x and high.y < (1 - _NOISE) * low.y:
                raise ProfileError(
                    f"the points contradict each other: {sentence.format(low.x, low.y, high.x, high.y)}."
                    " Measure for longer, with nothing else on the device"
                )


def _pooled(points: Sequence[Weighed]) -> list[Weighed]:
    """One point for each x."""
    sums: dict[float, tuple[float, float]] = {}
    for x, y, weight in points:
        total, weights = sums.get(x, (0.0, 0.0))
        sums[x] = (total + weight * y, weights + weight)
    return [Weighed(x, total / weight, weight) for x, (total, weight) in sums.items()]


def _relative_error(points: Sequence[Weighed], base: float, slope: float) -> float:
    """Standard error of the points around the line, as a share of their mean; 0 for two, through which it goes."""
    freedom = len(points) - 2
    if freedom <= 0:
        return 0.0
    weight = sum(p.weight for p in points)
    squares = sum(p.weight * (p.y - base - slope * p.x) ** 2 for p in points) / weight
    return math.sqrt(squares * len(points) / freedom) / (sum(p.weight * p.y for p in points) / weight)


def _check_scatter(error: float) -> None:
    if error > _SCATTER:
        raise ProfileError(
            f"the points scatter by {error:.0%} around a line, and at most {_SCATTER:.0%} is taken for noise."
            " Measure for longer, with nothing else on the device"
        )
