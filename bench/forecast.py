"""Forecasts out of sample: how often demand stayed within them, and what they cost beside naive ones and peers."""

from __future__ import annotations

import json
import math

import numpy as np

from bench.figure import Figure
from bench.forecast_loads import Load, drawn, traces
from bench.forecast_peers import HoltWinters, Series, conformal, moving_maximum, naive, yesterday
from bench.timing import best_s
from controlplane.decide.forecast import Reading, State, begin, dumped, forecast, observe

LEVELS = (0.6, 0.9, 0.99)
HORIZON_S = 300.0
_POINTS = 0.05
_TIE = 1.05
_GOAL = "coverage within 5 points of each quantile (two standard deviations if more); loss at most naive's (5 % ties)"
# Less than so many horizons, one after the other, tell neither.
_ENOUGH = 30
_TICK_GOAL_S = 0.001
_SIZE_GOAL = 100_000


def run(*, quick: bool, seed: int) -> list[Figure]:
    """A figure for each load, then time and size of one model with four horizons."""
    return [*(_figure(load) for load in (*traces(quick=quick), *drawn(seed, quick=quick))), _cost(seed)]


def _figure(load: Load) -> Figure:
    ahead = math.ceil(HORIZON_S / load.step_s)
    own, open_ = _own(load, ahead)
    day = round(86400 / load.step_s)
    found = {
        "naive": conformal(load.demand, ahead, LEVELS, naive),
        "yesterday": conformal(load.demand, ahead, LEVELS, yesterday(day)),
        "Holt-Winters": conformal(load.demand, ahead, LEVELS, HoltWinters(day)),
        "moving max": moving_maximum(load.demand, ahead, LEVELS, load.step_s),
    }
    if len(load.demand) < 2 * day:
        del found["yesterday"]
    reported = np.zeros(len(load.demand), dtype=bool)
    reported[load.report_from :] = True
    issued = reported & open_[: len(load.demand)]
    if not issued.any():
        return Figure(f"forecast, {load.name}", "no forecast: the gate never opened", _GOAL, met=False)
    covered = _covered(load, own, issued)
    losses = {name: _loss(load, quantiles, issued) for name, quantiles in {"own": own, **found}.items()}
    share = float(issued.sum() / reported.sum())
    ratio = _ratio(losses["own"], losses["naive"])
    always = _ratio(_loss(load, own, reported), _loss(load, found["naive"], reported))
    spans = issued.sum() / ahead
    kept = True
    for level, held in zip(LEVELS, covered, strict=True):
        allowed = max(_POINTS, 2 * math.sqrt(level * (1 - level) / spans))
        kept = kept and level - allowed <= held and (load.atoms or held <= level + allowed)
    told = spans >= _ENOUGH
    notes = [f"forecast in {share:.0%} of the time; with what is held without one {always:.2f} of naive"]
    for name, quantiles in found.items():
        by = " ".join(f"{held:.1%}" for held in _covered(load, quantiles, issued))
        notes.append(f"{name}: covered {by}, loss {_ratio(losses[name], losses['naive']):.2f}")
    return Figure(
        f"forecast, {load.name}",
        f"covered {' '.join(f'{held:.1%}' for held in covered)}, loss {ratio:.2f} of naive",
        _GOAL if told else f"none: only {spans:.0f} horizons to report on",
        not told or (kept and ratio <= _TIE),
        {"covered": covered, "losses": losses, "forecast_share": share, "loss_with_fallback": always},
        tuple(notes),
    )


def _own(load: Load, ahead: int) -> tuple[Series, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Quantiles by step, what is held where there is no forecast, and where there is one."""
    found = np.full((len(load.demand) + ahead, len(LEVELS)), np.nan)
    is_open = np.zeros(len(load.demand) + ahead, dtype=bool)
    state = begin(load.step_s, [HORIZON_S])
    for at, per_s in enumerate(load.demand.tolist()):
        now = (at + 1) * load.step_s
        state = observe(state, Reading(now, per_s, per_s))
        if at + ahead < load.report_from:
            continue
        for place, level in enumerate(LEVELS):
            one = forecast(state, HORIZON_S, level, now)
            if one is not None:
                is_open[at + ahead] = one.quantile_per_s is not None
                found[at + ahead, place] = one.per_s if one.quantile_per_s is None else one.quantile_per_s
    return found, is_open


def _covered(load: Load, quantiles: Series, which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[float]:
    """Share of the steps with demand at or below each quantile (a billionth is rounding)."""
    held = load.demand[:, None] <= quantiles[: len(load.demand)] * (1 + 1e-9)
    return [float(share) for share in held[which].mean(axis=0)]


def _loss(load: Load, quantiles: Series, which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """Pinball loss, mean over steps, summed over LEVELS."""
    error = (load.demand[:, None] - quantiles[: len(load.demand)])[which]
    levels = np.array(LEVELS)
    return float(np.maximum(levels * error, (levels - 1) * error).mean(axis=0).sum())


def _ratio(loss: float, naive_loss: float) -> float:
    if naive_loss > 0:
        return loss / naive_loss
    return 1.0 if loss <= 1e-9 else math.inf


def _cost(seed: int) -> Figure:
    """A minute of one model that has seen nine days: read, and asked at four horizons."""
    chance = np.random.default_rng(seed)
    horizons_s = (60.0, 120.0, 300.0, 600.0)
    state, minutes = begin(60, horizons_s), 9 * 1440
    for at in range(minutes):
        state = _read(state, at, float(chance.gamma(4.0, 5.0)))

    def tick() -> None:
        after = _read(state, minutes, 20.0)
        for horizon_s in horizons_s:
            forecast(after, horizon_s, 0.9, (minutes + 1) * 60.0)

    took_s, size = best_s(tick), len(json.dumps(dumped(state)))
    return Figure(
        "forecast, one model with four horizons",
        f"{took_s * 1000:.2f} ms a minute, {size / 1000:.0f} KB as JSON",
        f"at most {_TICK_GOAL_S * 1000:g} ms and {_SIZE_GOAL // 1000} KB",
        took_s <= _TICK_GOAL_S and size <= _SIZE_GOAL,
        {"seconds": took_s, "bytes": size},
    )


def _read(state: State, at: int, per_s: float) -> State:
    return observe(state, Reading((at + 1) * 60.0, per_s, per_s))
