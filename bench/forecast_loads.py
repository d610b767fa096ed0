"""Loads that forecasts are measured on: parts of the traces and draws of the kinds that there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.forecast_peers import Series
from controlplane.sim.trace import load, read_counts

_DAY = 1440
_DAYS = 5
# Two with the course of a day, one with bursts, one that runs at fixed minutes of the day.
_FUNCTIONS = ("bd33ce4b", "2aec780b", "e369a477", "d2138e08")


@dataclass(frozen=True, slots=True)
class Load:
    """Demand per second by step; figures are of what comes from `report_from` on. `atoms`: often one exact value."""

    name: str
    demand: Series
    step_s: float
    report_from: int
    atoms: bool = False


def traces(*, quick: bool) -> list[Load]:
    """The traces: learned on the first half (of seven days: the first four), reported on the rest."""
    days = (1, 2, 3, 4, 5) if quick else (1, 2, 3, 4, 5, 6, 7)
    loads = [
        Load(f"Azure function {name}", read_counts(name, days) / 60.0, 60.0, 4 * _DAY, atoms=name == "d2138e08")
        for name in (_FUNCTIONS[:2] if quick else _FUNCTIONS)
    ]
    for name, step_s in (("conv", 10.0), ("code", 10.0), ("reasoning", 60.0)):
        at_s = load(name).at_s
        counts = np.bincount((at_s // step_s).astype(np.int64))[: int(at_s[-1] // step_s)]
        loads.append(Load(name, counts / step_s, step_s, len(counts) // 2))
    return loads


def drawn(seed: int, *, quick: bool) -> list[Load]:
    """Five days each, minute by minute, the last two reported: Poisson counts around levels of each kind."""
    chance, minutes = np.random.default_rng(seed), np.arange(_DAYS * _DAY)
    course = 20 + 15 * np.sin(2 * np.pi * minutes / _DAY)
    bursts = np.where(chance.random(minutes.size) < 0.02, chance.gamma(1.0, 60.0, minutes.size), 0.0)
    jumps = np.repeat(chance.uniform(2, 40, minutes.size // 90), 90)
    on_off = np.repeat(chance.integers(0, 2, minutes.size // 10) * 10.0, 10)
    growing = 5 * np.exp(2.0 * minutes / minutes.size) * np.exp(chance.normal(0, 0.1, minutes.size))
    levels = {"diurnal": course, "bursty": course + bursts, "jumping": jumps, "on/off": on_off, "growing": growing}
    loads = [
        Load(f"drawn: {name}", chance.poisson(level * 60) / 60, 60.0, 3 * _DAY, atoms=name == "on/off")
        for name, level in levels.items()
        if not quick or name in ("diurnal", "jumping")
    ]
    return [*loads, Load("drawn: constant", np.full(minutes.size, 7.0), 60.0, 3 * _DAY, atoms=True)]
