"""What the planner is asked of the fleet as it is: demand seen, capacities known, and GPUs that may be cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.decide.demand import LEVEL_S, RECENT_S, estimate, tail
from controlplane.decide.mig.boards import Board, Slice
from controlplane.decide.mig.copies import CopyCapacity, copies
from controlplane.decide.mig.needs import on_board
from controlplane.decide.mig.seen import SeenGpu
from controlplane.decide.mig.settings import MigWish
from controlplane.decide.mig.values import Gpu, MigModel, MigQuestion
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.mig import WHOLE
from controlplane.domain.observation import FleetReading, ModelReading, ModelState
from controlplane.domain.signal import Known, Missing, Signal, known

Learned = Mapping[tuple[str, str, str], float]
"""Requests per second of one copy by model, board and profile, where it ran on such a slice."""


UnitName = tuple[str, str]
"""Model and server."""


@dataclass(frozen=True, slots=True)
class Occupied:
    """A GPU with the models that have a copy on its slices; `why` it may not be cut, empty: it may.

    `waits_for_reset`: whether it might be cut but for a reset that it waits for.
    `units` are the same copies by the UUIDs of the slices, with their servers.
    """

    gpu: SeenGpu
    models: Mapping[Slice, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, tuple[UnitName, ...]] = field(default_factory=dict)
    why: str = ""
    waits_for_reset: Signal[bool] = field(default_factory=lambda: Missing("not looked at"))


def demand_of(model: ModelSpec, reading: FleetReading, now: float, max_age_s: float) -> Signal[float]:
    """Arrivals per second of a model over all its servers; missing where one of them tells nothing of it.

    All are counted over the same time, at most LEVEL_S and as long as the newest server is seen: what one served before
    another came would count twice.
    """
    counted: list[tuple[str, ModelReading]] = []
    for server in model.runs_on:
        entry = reading.servers.get(server)
        if entry is None or known(entry.live) is not True:
            return Missing(f"{server} does not answer")
        seen = known(entry.models[model.name]) if model.name in entry.models else None
        if seen is None:
            return Missing(f"{server} was not read of late")
        if seen.state in {ModelState.UNLOADED, ModelState.ABSENT}:
            continue
        counted.append((server, seen))
    if not counted:
        return Known(0.0, now) if model.runs_on else Missing("it runs on no server")
    covered = {server: sum(interval.length_s for interval in seen.intervals) for server, seen in counted}
    window_s = min(LEVEL_S, *covered.values())
    if window_s < RECENT_S:
        newest = min(covered, key=lambda server: covered[server])
        return Missing(f"{newest} was not read for {RECENT_S:g} s yet")
    total = 0.0
    for server, seen in counted:
        found = estimate(tail(seen.intervals, window_s), now, max_age_s, max(1, seen.max_batch_size))
        if found is None:
            return Missing(f"nothing was counted on {server} of late")
        total += found.level_high_per_s
    return Known(total, now)


def capacities(wish: MigWish, boards: Sequence[Board], learned: Learned) -> dict[tuple[str, str], CopyCapacity]:
    """What a copy serves, by board and profile."""
    return {
        (board.key, profile): capacity
        for board in boards
        for profile, capacity in copies(
            board,
            wish.memory_gib,
            {of: per_s for (name, key, of), per_s in learned.items() if (name, key) == (wish.name, board.key)},
            wish.profiles,
        ).items()
        if profile == WHOLE or not wish.whole
    }


def question(
    wishes: Sequence[MigWish],
    demand: Mapping[str, float],
    known_capacities: Mapping[str, Mapping[tuple[str, str], CopyCapacity]],
    gpus: Sequence[Occupied],
    prices: Mapping[str, float],
) -> MigQuestion:
    """The question about the GPUs that may be cut. `prices` by UUID count where every one of those has one."""
    usable = [one for one in gpus if not one.why and one.gpu.board is not None]
    priced = all(one.gpu.reading.uuid in prices for one in usable)
    return MigQuestion(
        tuple(
            Gpu(
                one.gpu.reading.uuid,
                one.gpu.board,
                tuple(sorted(set(one.gpu.pieces.values()))),
                prices[one.gpu.reading.uuid] if priced else 1.0,
                dict(one.models),
            )
            for one in usable
            if one.gpu.board is not None
        ),
        tuple(
            MigModel(
                wish.name,
                demand[wish.name],
                {
                    on_board(key, profile): capacity.low_per_s
                    for (key, profile), capacity in known_capacities[wish.name].items()
                },
                wish.memory_gib,
                wish.share,
            )
            for wish in wishes
        ),
    )
