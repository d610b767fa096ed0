"""Days of changing demand on fleets that are cut: our plans against fixed layouts and greedy ways to cut."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping

from bench.figure import Figure
from bench.mig_fleet import Fleet, Ledger
from bench.mig_policies import POLICIES, Policy, fixed
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Board, MigModel, Slice
from controlplane.decide.mig.worth import BY_LABEL, BY_NVML, Pace

TICK_S, DAY_S = 300.0, 86_400.0
_HEADROOM, _HELD_TICKS = 1.15, 6
_FLEETS = {"h100-80gb": 8, "a100-80gb": 8, "a30-24gb": 12}
_LOAD = 0.62
"""Demand of an average moment, as a share of what the fleet serves with every slice as small as it can be."""


def run(*, quick: bool, seed: int, say: Callable[[str], None]) -> list[Figure]:
    """Every fleet by every policy; ours over the label path as well."""
    days = 1 if quick else 3
    figures = []
    for key, gpus in _FLEETS.items():
        found: dict[str, Ledger] = {}
        for name, policy in POLICIES.items():
            say(f"{key}: {name} ...")
            found[name] = simulate(boards()[key], gpus, policy, BY_NVML, days, seed)
        say(f"{key}: planned, by label ...")
        found["planned, by label"] = simulate(boards()[key], gpus, POLICIES["planned"], BY_LABEL, days, seed)
        figures += list(_figures(key, gpus, days, found))
    return figures


def simulate(board: Board, gpus: int, policy: Policy, pace: Pace, days: float, seed: int) -> Ledger:
    """So many GPUs of a board by one policy, and what came of it."""
    models = _models(board, gpus, random.Random(seed))
    base = _fixed(board) if policy is fixed else ()
    fleet = Fleet(board, {f"GPU-{i:02d}": set(base) for i in range(gpus)}, models, pace)
    seen: list[Mapping[str, float]] = []
    for tick, demand in enumerate(_demand(models, days, random.Random(seed + 1))):
        now = tick * TICK_S
        seen = [*seen[-_HELD_TICKS + 1 :], demand]
        # what is decided rests on what was seen before: this tick's demand is known at its end
        held = seen[:-1] or seen
        policy(fleet, {name: _HEADROOM * max(d[name] for d in held) for name in models}, now)
        fleet.count(demand, now, now + TICK_S)
        if tick == 2:
            fleet.ledger = Ledger()  # the first copies had to start for everybody
    return fleet.ledger


def _models(board: Board, gpus: int, drawn: random.Random) -> dict[str, MigModel]:
    """Models of several sizes; what a copy serves grows with its slice, less than evenly."""
    largest = max(board.memory_gib(p.name) for p in board.profiles)
    units = {
        p.name: p.sm or board.units * 14
        for p in board.profiles
        if "+" not in p.name and "-" not in p.name and p.nvml is not None
    }
    made = {}
    for i in range(10):
        grows, memory = drawn.uniform(0.6, 0.95), largest * drawn.choice([0.08, 0.1, 0.2, 0.2, 0.4])
        profiles = {name: (sm / 14) ** grows for name, sm in units.items() if board.memory_gib(name) >= memory}
        best = max(per_s / board.size(Slice(name, 0)) for name, per_s in profiles.items())
        mean = _LOAD * best * board.units * gpus / 10 * drawn.uniform(0.5, 1.5)
        made[f"m{i}"] = MigModel(f"m{i}", mean, profiles, memory)
    return made


def _demand(models: Mapping[str, MigModel], days: float, drawn: random.Random) -> Iterator[Mapping[str, float]]:
    """A daily wave for each model at an hour of its own, noise that lasts, and bursts of an hour or two."""
    phase = {name: drawn.uniform(0, 1) for name in models}
    depth = {name: drawn.uniform(0.3, 0.8) for name in models}
    noise = dict.fromkeys(models, 0.0)
    burst_until = dict.fromkeys(models, 0.0)
    for tick in range(int(days * DAY_S / TICK_S)):
        now, found = tick * TICK_S, {}
        for name, model in models.items():
            noise[name] = 0.95 * noise[name] + drawn.gauss(0, 0.02)
            if drawn.random() < TICK_S / DAY_S:
                burst_until[name] = now + drawn.uniform(3600, 7200)
            wave = 1 + depth[name] * math.sin(2 * math.pi * (now / DAY_S + phase[name]))
            found[name] = max(
                0.0, model.demand * wave * math.exp(noise[name]) * (1.6 if now < burst_until[name] else 1)
            )
        yield found


def _fixed(board: Board) -> tuple[Slice, ...]:
    """The balanced layout of mig-parted's example configuration: large, middle and small slices on every GPU."""
    by = {(p.compute, p.size): p.name for p in board.profiles if "+" not in p.name and p.nvml is not None}
    if board.units == 4:
        return Slice(by[2, 2], 0), Slice(by[1, 1], 2), Slice(by[1, 1], 3)
    return Slice(by[3, 4], 4), Slice(by[2, 2], 0), Slice(by[1, 1], 2), Slice(by[1, 1], 3)


def _figures(key: str, gpus: int, days: int, found: Mapping[str, Ledger]) -> Iterator[Figure]:
    ours, others = found["planned"], [one for name, one in found.items() if not name.startswith("planned")]
    for name, one in found.items():
        attained, hours = one.served / one.asked, one.gpu_s / 3600
        yield Figure(
            f"MIG over {days} days, {gpus} x {key}, {name}",
            f"{100 * attained:.2f} % attained, {hours:.0f} GPU h, {one.served / hours:.0f} served per GPU h;"
            f" {one.created + one.destroyed} slices changed, {one.interrupted} interrupted, cutting"
            f" {one.cutting_s:.0f} s ({one.gpu_changes * BY_LABEL.gpu_s / 60:.0f} min by label)",
            "more served per GPU hour than the others, no less attained" if name == "planned" else "",
            name != "planned"
            or all(
                ours.served / ours.gpu_s >= other.served / other.gpu_s
                and ours.served / ours.asked >= other.served / other.asked - 0.002
                for other in others
            ),
            {
                "attained": attained,
                "gpu_hours": hours,
                "served_per_gpu_hour": one.served / hours,
                "created": one.created,
                "destroyed": one.destroyed,
                "interrupted": one.interrupted,
                "gpu_changes": one.gpu_changes,
                "cutting_s": one.cutting_s,
            },
        )
