"""Up the curve of a server: twice the concurrency at each step, until more of it gives no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from controlplane.domain.errors import ProfileError

P = TypeVar("P")
_GAIN = 1.05
"""Throughput that grows by less does not grow."""
_FLAT = 2
"""So many steps in a row without growth are enough."""
_SLOW = 10.0
"""Latency of so many times the first one is the end."""


@dataclass(frozen=True, slots=True)
class Step(Generic[P]):
    """One load: answers a second, their mean latency, and the points for the fit.

    `refused`: words of the server to requests that it did not serve; then there are no points.
    """

    concurrency: int
    per_s: float
    latency_s: float
    points: tuple[P, ...] = ()
    refused: str = ""


def concurrencies(most: int) -> Iterator[int]:
    """1, 2, 4 and so on up to `most`."""
    return (1 << power for power in range(most.bit_length()))


async def climb(
    measure: Callable[[int], Awaitable[Step[P]]], most: int, told: Callable[[Step[P]], None]
) -> tuple[list[Step[P]], str]:
    """The steps up to the top, each told when it is done, and why it ended there. Raises ProfileError."""
    steps: list[Step[P]] = []
    flat = 0
    for concurrency in concurrencies(most):
        step = await measure(concurrency)
        if step.refused and not steps:
            raise ProfileError(step.refused)
        if step.refused:
            return steps, f"at {concurrency} requests in flight the server refused some: {step.refused}"
        flat = flat + 1 if steps and step.per_s < _GAIN * steps[-1].per_s else 0
        steps.append(step)
        told(step)
        if flat == _FLAT:
            return steps, "throughput grows no more"
        if step.latency_s > _SLOW * steps[0].latency_s:
            return steps, f"latency is more than {_SLOW:g} times that of one request"
    return steps, "as many requests in flight as were allowed"
