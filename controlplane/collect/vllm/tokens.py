"""Cumulative token counters by engine -> what was counted between two readings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from controlplane.domain.observation import Counter, TokenCounts

Engines: TypeAlias = Mapping[str, Mapping[Counter, float]]
"""The token counters of each engine that is there; one that it does not export, or that is no count, is not in it."""

FIELDS = {
    Counter.PROMPT_TOKENS: "prompt",
    Counter.GENERATION_TOKENS: "generation",
    Counter.PREEMPTIONS: "preemptions",
    Counter.PREFIX_QUERIES: "prefix_queries",
    Counter.PREFIX_HITS: "prefix_hits",
    Counter.ENDED: "ended",
    Counter.ENDED_PROMPT: "ended_prompt",
    Counter.ENDED_GENERATION: "ended_generation",
    Counter.ITL_COUNT: "itl_count",
    Counter.ITL_S: "itl_s",
}
"""Counters and their fields of TokenCounts."""
_SECONDS = frozenset({Counter.ITL_S})
"""Those that are no whole numbers."""


def tokens_between(before: Engines, after: Engines, *, anew: bool) -> TokenCounts | None:
    """What was counted between two readings of a model; None where no engine counts tokens.

    An engine of which a counter fell began anew, and so did one that was not there; `anew`: it is known that the
    process did, whether a counter fell or not.
    """
    if not any(after.values()):
        return None
    if tokens_fell(before, after):
        before = {engine: then for engine, then in before.items() if not _fell(then, after.get(engine, {}))}
    elif anew:
        before = {}
    return TokenCounts(**{field: _difference(before, after, counter) for counter, field in FIELDS.items()})  # type: ignore[arg-type]


def tokens_fell(before: Engines, after: Engines) -> bool:
    """Whether an engine that is still there began anew."""
    return any(_fell(before.get(engine, {}), now) for engine, now in after.items())


def _fell(before: Mapping[Counter, float], after: Mapping[Counter, float]) -> bool:
    return any(after.get(counter, math.inf) < count for counter, count in before.items())


def _difference(before: Engines, after: Engines, counter: Counter) -> float | None:
    total = 0.0
    for engine, now in after.items():
        then = before[engine].get(counter) if engine in before else 0.0
        if then is None or counter not in now:
            return None
        total += now[counter] - then
    return total if counter in _SECONDS else round(total)
