"""What a vLLM-like replica can do, learned from what its page counts.

A replica's second goes to decode iterations and to prompts. With g tokens generated a second by R running requests it
does g / R iterations, each of `base_s` and `per_running_s` a request; p prompt tokens and r requests a second take
`per_prompt_s` and `per_request_s` each. While it is busy all of its time is used:

    base_s * g / R + per_running_s * g + per_prompt_s * p + per_request_s * r = 1

which every busy stretch of every replica states anew, so that least squares finds the four. Idle ones state nothing,
and those of a replica's first minute are left out: caches and graphs are cold then. R is the sum of all times between
tokens by the length of the stretch (Little's law), and g / R their number by their sum; readings without tokens are
left out of both. Where a page does not count them, R is read at the ends of readings only, and its errors make replicas
seem the slower the fewer requests run (regression dilution: Fuller, Measurement Error Models, 1987), so that more of
them would ask for still more. Hence a stretch is a minute of readings, and weighs the less the fewer run in it.

The mean time between tokens is R / g. By the same equation it is `base_s / (1 - rho)`, where rho is the share of time
that grows with the load; the most load with a time of at most S between tokens is rho = 1 - base_s / S. The linear
model of an iteration is that of Vidur (Agrawal et al., MLSys 2024) and llm-d's queueing analyzer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.decide.replicas.flow import arrivals, between_tokens, running
from controlplane.domain.observation import Interval
from controlplane.domain.profiles import TokenProfile
from controlplane.domain.state import TokenSums

_STRETCH_S = 60.0
# A whole stretch in which so many run weighs 1, and most.
_FULL_WEIGHT = 16.0
# Stretches remembered, by weight: newer ones push older ones out.
_MEMORY = 500.0
# Busy stretches before which nothing is known without a profile.
_ENOUGH = 2.0
# Below so many running requests, as gauges tell, a stretch may be partly idle.
_BUSY = 2.0
# Stretches that a profile stands for; without one a rough guess stands for less than one.
_PROFILE = 5.0
_GUESS = 0.05
_GUESS_ITL_S = 0.05


@dataclass(frozen=True, slots=True)
class TokenService:
    """The four coefficients, in seconds; `readings`: stretches that they rest on, by weight."""

    base_s: float
    per_running_s: float
    per_prompt_s: float
    per_request_s: float
    readings: float

    def prompt_s(self, prompt_tokens: float) -> float:
        """Seconds of a replica that the prompt of one request takes."""
        return self.per_request_s + self.per_prompt_s * prompt_tokens


def learn(sums: TokenSums, whole: Iterable[Sequence[Interval]]) -> TokenSums:
    """The sums with these stretches of replicas added, older ones fading."""
    products, totals, weight = np.array(sums.products).reshape(4, 4), np.array(sums.totals), sums.readings
    for stretch in whole:
        stated = _told(stretch)
        if stated is None:
            continue
        own, told = stated
        fade = min(1.0, _MEMORY / (weight + own))
        products, totals = products * fade + own * np.outer(told, told), totals * fade + own * told
        weight = weight * fade + own
    return TokenSums(tuple(products.ravel().tolist()), tuple(totals.tolist()), weight)


def stretches(intervals: Iterable[Interval]) -> Iterator[tuple[Interval, ...]]:
    """Readings of one replica that follow each other, by the minute; what is left over is not whole yet."""
    part: list[Interval] = []
    for interval in intervals:
        if part and interval.start != part[-1].end:
            part = []
        part.append(interval)
        if interval.end - part[0].start > _STRETCH_S - 1.0:
            yield tuple(part)
            part = []


def _told(stretch: Sequence[Interval]) -> tuple[float, NDArray[np.float64]] | None:
    """The weight of a stretch and its four numbers, g / R, g, p and r; None of one that states nothing.

    Of the readings that count the time between tokens those in which some came, else all of a busy stretch.
    """
    counted = [interval for interval in stretch if _tells(interval) and between_tokens(interval) is not None]
    used = counted or (stretch if all(map(_is_busy, stretch)) else [])
    length_s = sum(interval.length_s for interval in used)
    if length_s <= 0:
        return None
    at_once = sum(running(interval) * interval.length_s for interval in used) / length_s
    if not counted and at_once < _BUSY:
        return None
    generation = sum(i.tokens.generation or 0 for i in used if i.tokens is not None)
    prompt = sum(i.tokens.prompt or 0 for i in used if i.tokens is not None)
    decoded, came = sum(map(_decoded, used)), max(0.0, sum(map(arrivals, used)))
    whole = min(1.0, length_s / _STRETCH_S) if counted else 1.0
    return whole * min(1.0, at_once / _FULL_WEIGHT), np.array([decoded / at_once, generation, prompt, came]) / length_s


def _decoded(interval: Interval) -> int:
    """Tokens that came in the time that `running` counts: not the first ones of requests, where that can be told."""
    if (between := between_tokens(interval)) is not None:
        return between[0]
    return (interval.tokens.generation or 0) if interval.tokens is not None else 0


def _is_busy(interval: Interval) -> bool:
    """Whether it tells something, and requests ran at both ends of it."""
    return _tells(interval) and not {None, 0} & {interval.running_start, interval.running_end}


def _tells(interval: Interval) -> bool:
    """Whether tokens came in a reading, and it tells those of prompts too."""
    tokens = interval.tokens
    return tokens is not None and bool(tokens.generation) and tokens.prompt is not None and not interval.began_anew


def service(sums: TokenSums, profile: TokenProfile | None) -> TokenService | None:
    """What was learned; None before enough was seen where there is no profile. No coefficient is below zero."""
    if profile is None and sums.readings < _ENOUGH:
        return None
    prior, weight = _prior(profile)
    pull = np.diag(weight / prior**2)
    products, totals = np.array(sums.products).reshape(4, 4) + pull, np.array(sums.totals) + pull @ prior
    solved = _not_negative(products, totals)
    base_s, per_running_s, per_prompt_s, per_request_s = solved.tolist()
    return TokenService(base_s, per_running_s, per_prompt_s, per_request_s, sums.readings)


def _prior(profile: TokenProfile | None) -> tuple[NDArray[np.float64], float]:
    """Coefficients taken to be so before anything was seen, and how many readings they stand for."""
    if profile is None:
        return np.array([0.2 * _GUESS_ITL_S, 0.004 * _GUESS_ITL_S, 2e-4, 5e-3]), _GUESS
    known = np.array(
        [profile.itl_base_s, profile.itl_per_running_s, profile.prefill_per_token_s, max(0.0, profile.prefill_base_s)]
    )
    return np.maximum(known, 1e-7), _PROFILE


def _not_negative(products: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares without coefficients below zero: the lowest is left out until there is none."""
    active = list(range(4))
    solved = np.zeros(4)
    while active:
        part = np.ix_(active, active)
        solved = np.zeros(4)
        solved[active] = np.linalg.solve(products[part], totals[active])
        lowest = min(active, key=lambda index: solved[index])
        if solved[lowest] >= 0:
            break
        active.remove(lowest)
    return solved


@dataclass(frozen=True, slots=True)
class TokenGoal:
    """Objectives of one request: seconds to the first token, mean seconds between others; None where there is none.

    `share` of the requests that are to be inside.
    """

    ttft_s: float | None
    itl_s: float | None
    share: float


# Without an objective on tokens a replica is full at this share of its time.
_FULL = 0.85
# Variation of prompts: squared coefficient of variation of their times, about that of chat and code traces.
_PROMPT_CV2 = 1.0
# A KV cache fuller than this begins to throw requests out.
_KV_FULL = 0.9


def itl_room(service: TokenService, goal: TokenGoal) -> float:
    """The share of a replica's time that load may take by the objective on the time between tokens."""
    if goal.itl_s is None:
        return _FULL
    return max(0.05, 1 - service.base_s / goal.itl_s)


def ttft_room(prompt_s: float, goal: TokenGoal) -> float:
    """The share of a replica's time that prompts may take by the objective on the first token.

    The wait of M/G/1 has about the tail rho * exp(-2 (1 - rho) t / (s (1 + cv2))) (Kingman's heavy traffic).
    """
    if goal.ttft_s is None or prompt_s <= 0:
        return 1.0
    left_s = goal.ttft_s - prompt_s
    if left_s <= 0:
        return 1.0  # nothing meets it: more replicas would not either
    low, high = 0.0, 1.0
    for _ in range(20):
        rho = (low + high) / 2
        late = rho * math.exp(-2 * (1 - rho) * left_s / (prompt_s * (1 + _PROMPT_CV2)))
        low, high = (rho, high) if late <= 1 - goal.share else (low, rho)
    return max(0.05, low)


def kv_replicas(usages: Iterable[float]) -> float:
    """Replicas whose KV caches would be full of what all hold now."""
    return sum(usages) / _KV_FULL
