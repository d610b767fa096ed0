"""Killed between any two things that it waits for, the control plane goes on: no step is lost, none is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from controlplane.domain.decision import Action, ActionStatus, Outcome, Target
from controlplane.domain.instructions import Override, OverrideKind
from tests.world import world as worlds
from tests.world.batcher import SimModel
from tests.world.ports import WorldActuator
from tests.world.world import T0, BreakableStore, World, one_model

WRITES = ("write_tick", "start_action", "finish_action")
END_S = 92.0


class Killed(BaseException):
    """The process is gone: nothing after this is done."""


@dataclass
class Fate:
    """Counts what the control plane waits for, and ends it at the `at`-th time."""

    at: int | None = None
    passed: int = 0
    dead: bool = False
    needless: list[Action] = field(default_factory=list)

    def point(self) -> None:
        """Something was waited for, or is about to be."""
        self.passed += 1
        if self.passed == self.at:
            self.dead = True
        if self.dead:
            raise Killed

    def revive(self) -> None:
        """Another process: it is left alone."""
        self.at, self.dead = None, False


class FatefulStore(BreakableStore):
    """A store before and after whose writes the control plane may die."""

    fate: Fate

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            idle = name == "write_tick" and not any(d.actionable for d in args[0].decisions)
            if name not in WRITES or idle:
                return found(*args, **kwargs)
            self.fate.point()
            done = found(*args, **kwargs)
            self.fate.point()
            return done

        return call


class FatefulActuator(WorldActuator):
    """Model control before and after which the control plane may die."""

    fate: Fate

    async def apply(self, action: Action) -> Outcome:
        self.fate.point()
        sim = self._world.sim(action.model)
        if Target(sim.loaded, sim.count if sim.loaded else 0) == action.target:
            self.fate.needless.append(action)
        outcome = await super().apply(action)
        self.fate.point()
        return outcome


@dataclass
class Counted:
    """What was really done to a simulated model. One that comes up gets a count too."""

    ups: int = 0
    changes: int = 0
    downs: int = 0


def counting(sim: SimModel) -> Counted:
    done = Counted()
    up, set_count, down = sim.up, sim.set_count, sim.down

    def counted(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            setattr(done, name, getattr(done, name) + 1)
            call(*args)

        return run

    sim.up = counted("ups", up)  # type: ignore[method-assign]
    sim.set_count = counted("changes", set_count)  # type: ignore[method-assign]
    sim.down = counted("downs", down)  # type: ignore[method-assign]
    return done


def told(kind: OverrideKind, at: float, instances: int | None = None) -> Override:
    return Override(f"o-{kind.value}", "m", kind, "ann", "a test", at, at + 3600.0, instances)


async def lived(fate: Fate) -> tuple[Counted, list[ActionStatus], int]:
    """A load, a change of instances and an unload, with whatever fate does to them. Gives what was done."""
    sim = SimModel("m")
    done = counting(sim)
    async with one_model(sim, loaded=0, instances_min=2) as world:
        for at, override in (
            (35.0, told(OverrideKind.INSTANCES, T0 + 35.0, 3)),
            (66.0, told(OverrideKind.UNLOADED, T0 + 66.0)),
        ):
            await until(world, fate, T0 + at)
            world.real_store.add_override(override)
        await until(world, fate, T0 + END_S)
        unended = await world.thread.call(lambda s: s.interrupt_actions(world.now))
        outcomes = await world.thread.call(lambda s: s.outcomes(T0))
        assert not unended, "every step that was begun has come to an end in the journal"
        assert not sim.loaded
    return done, [outcome.status for outcome in outcomes], len(world.applied)


async def until(world: World, fate: Fate, end: float) -> None:
    """Let the world go on; where the control plane dies, another one comes up a few seconds later."""
    while world.now < end:
        try:
            await world.run(min(1.0, end - world.now))
        except Killed:
            assert fate.dead
        if fate.dead:
            world.kill()
            await asyncio.gather(*(task for _, task in world.executor._flying.values()), return_exceptions=True)
            fate.revive()
            await world.run(3.0)
            await world.start()


async def test_killed_at_any_point_each_step_is_done_once_and_ends_in_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worlds, "BreakableStore", FatefulStore)
    monkeypatch.setattr(worlds, "WorldActuator", FatefulActuator)

    async def live(at: int | None) -> tuple[Fate, Counted, list[ActionStatus], int]:
        fate = FatefulStore.fate = FatefulActuator.fate = Fate(at)
        return fate, *await lived(fate)

    undisturbed, done, statuses, asked = await live(None)
    assert (done, statuses, asked) == (Counted(1, 2, 1), [ActionStatus.SUCCEEDED] * 3, 3)
    assert undisturbed.passed == 3 * 8
    for at in range(1, undisturbed.passed + 1):
        fate, done, statuses, asked = await live(at)
        assert done == Counted(1, 2, 1), f"killed at {at}"
        assert fate.needless == [], f"killed at {at}"
        assert asked <= 4, f"killed at {at}"
        assert statuses.count(ActionStatus.INTERRUPTED) <= 1
