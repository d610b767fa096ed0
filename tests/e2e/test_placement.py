"""Two real Tritons behind a gateway that routes by model: models move between them under memory limits."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton

from controlplane.decide.placing import ModelNeed, Placement, PlacementQuestion, ServerRoom, place
from controlplane.demo.rig import TritonRig
from tests.e2e.conftest import PlaneFactory
from tests.e2e.forked_plane import ForkedPlane
from tests.e2e.plane import Plane, until
from tests.e2e.traffic import starts, write_ensemble, write_model
from tests.model_gateway import ModelGateway, model_gateway
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

GIB, ROOM_GIB = 2**30, 5
SIZES_GIB = {"a": 1, "b": 1, "c": 2, "d": 3}
MODELS = tuple(SIZES_GIB)
Wanted = Mapping[str, tuple[int, int, int]]
"""GiB of each model, its copies and its priority."""
PLANS = int(os.environ.get("PLACEMENT_PLANS", "5"))
"""Random plans; 100 of them take a quarter of an hour."""


class Fleet:
    """Two Tritons with the same repository, and what happened on them."""

    def __init__(self, rigs: Mapping[str, TritonRig]) -> None:
        self.rigs = rigs

    def loaded(self) -> dict[str, set[str]]:
        """What each server's index shows as ready."""
        return {name: _index(rig, "READY") for name, rig in self.rigs.items()}

    def busy(self) -> bool:
        """Whether something is being loaded or unloaded."""
        return any(_index(rig, "LOADING", "UNLOADING") for rig in self.rigs.values())

    def loads(self) -> dict[tuple[str, str], int]:
        """How often each model was loaded on each server, by the server's log."""
        return {(model, name): len(starts(rig, model)) for name, rig in self.rigs.items() for model in MODELS}

    def unloads(self) -> dict[tuple[str, str], int]:
        """How often each was unloaded."""
        logs = {name: rig.log_text() for name, rig in self.rigs.items()}
        return {(m, name): log.count(f"successfully unloaded '{m}'") for name, log in logs.items() for m in MODELS}


def _index(rig: TritonRig, *states: str) -> set[str]:
    with triton.InferenceServerClient(rig.grpc_url) as client:
        return {row.name for row in client.get_model_repository_index().models if row.state in states}


@pytest.fixture
def gateway(fleet: Fleet) -> Iterator[ModelGateway]:
    with model_gateway({name: rig.http_url for name, rig in fleet.rigs.items()}) as made:
        yield made


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[ForkedPlane]:
    made = ForkedPlane(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def fleet(triton_rig: RigFactory) -> Fleet:
    rigs = {}
    for name in ("t0", "t1"):
        rig = triton_rig([], start=False)
        for model in MODELS:
            write_model(rig.repository, model, start_s=0.2, execute_s=0.01)
        write_ensemble(rig.repository, "both", "a", "b")
        write_ensemble(rig.repository, "one", "a")
        rig.start()
        rigs[name] = rig
    return Fleet(rigs)


def config(fleet: Fleet, gateway: ModelGateway, wanted: Wanted) -> dict[str, Any]:
    """Models with their GiB and copies, on servers with ROOM_GIB each."""
    servers = [
        {"name": name, "kind": "triton", "memory": f"{ROOM_GIB}GiB"}
        | {"http": rig.http_url, "grpc": rig.grpc_url, "metrics": rig.metrics_url}
        for name, rig in fleet.rigs.items()
    ]
    models = [
        {"name": name, "runs_on": ["t*"], "memory": f"{gib}GiB", "copies": {"min": copies}, "priority": priority}
        for name, (gib, copies, priority) in wanted.items()
    ]
    return {
        "mode": "act",
        "scrape": {"interval": "300ms", "timeout": "250ms"},
        "decide": {"interval": "300ms"},
        "api": {"port": 0},
        "policy": {"back_off_min": "1s"},
        "servers": servers,
        "gateways": [{"name": "edge", "routes": {"url": gateway.url, "servers": ["t*"]}}],
        "models": models,
    }


def planned(loaded: Mapping[str, set[str]], wanted: Wanted) -> Placement:
    """What the solver makes of what is loaded now."""
    servers = tuple(ServerRoom(name, ROOM_GIB * GIB, dict.fromkeys(held, 1)) for name, held in loaded.items())
    needs = tuple(
        ModelNeed(name, gib * GIB, copies, ("t0", "t1"), priority) for name, (gib, copies, priority) in wanted.items()
    )
    return place(PlacementQuestion(servers, needs))


def short(plan: Placement) -> list[tuple[str, float]]:
    """How many copies of each priority class are placed nowhere."""
    return [(goal.name, goal.value) for goal in plan.goals if goal.name.startswith("priority")]


def start(plane: Plane | ForkedPlane, gateway: ModelGateway) -> None:
    plane.start()
    gateway.plane = plane.url


def call(plane: Plane | ForkedPlane, method: str, path: str, body: object = None) -> None:
    """Give an instruction to the API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{plane.url}/api/v1/{path}", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in {200, 202}


def load(plane: Plane | ForkedPlane, model: str, server: str) -> None:
    """A person wants the model there."""
    call(plane, "POST", f"models/{model}/load", {"server": server, "ttl": "1h", "reason": "by hand"})


def settled(fleet: Fleet, wanted: Wanted) -> bool:
    """Whether all is as the solver would have it, and nothing is under way."""
    return not fleet.busy() and not planned(fleet.loaded(), wanted).moves


def under_way(plane: ForkedPlane) -> bool:
    """Whether a step is being carried out now."""
    with urllib.request.urlopen(f"{plane.url}/api/v1/models", timeout=60) as answer:
        return any(unit["in_flight"] for model in json.load(answer) for unit in model["units"])


def carried_out(what: str, plane: ForkedPlane, fleet: Fleet, wanted: Wanted) -> None:
    """Returns when all is as the solver would have it; else fails with what is, what is left, and what was decided."""

    def told() -> str:
        with urllib.request.urlopen(f"{plane.url}/api/v1/decisions?limit=24") as answer:
            decided = [f"{d['model']}@{d['server']} {d['at']} {d['headline']}" for d in json.load(answer)]
        return "\n".join([f"{wanted} {fleet.loaded()}", str(planned(fleet.loaded(), wanted).moves), *decided])

    until(f"{what} is carried out", lambda: settled(fleet, wanted), 120, told)


def since(now: Mapping[tuple[str, str], int], before: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    return Counter(now) - Counter(before)


def moved(after: Mapping[str, set[str]], before: Mapping[str, set[str]]) -> Counter[tuple[str, str]]:
    """What is on each server that was not."""
    return Counter({(model, name): 1 for name, held in after.items() for model in held - before[name]})


def test_models_move_under_memory_limits_and_no_request_fails(
    fleet: Fleet, gateway: ModelGateway, new_plane: PlaneFactory
) -> None:
    first = {name: (gib, 1, 0) for name, gib in SIZES_GIB.items()}
    plane = new_plane(config(fleet, gateway, first))
    start(plane, gateway)
    until("all are placed", lambda: settled(fleet, first), 60, plane.log_text)
    gateway.send(MODELS)
    held = fleet.loaded()
    assert sorted(model for models in held.values() for model in models) == list(MODELS)
    (home,) = (name for name, models in held.items() if "d" in models)
    (other,) = set(held) - {home}
    for model, server in (("d", other), ("c", home), ("d", home), ("c", other)):
        load(plane, model, server)

        def there(model: str = model, server: str = server) -> bool:
            return [name for name, models in fleet.loaded().items() if model in models] == [server]

        until(f"{model} is on {server} only", there, 60, plane.log_text)
        call(plane, "DELETE", f"models/{model}/overrides")
    assert gateway.failed == {}
    assert all(gateway.answers[model, "ok"] > 100 for model in MODELS)
    told = [line for d in plane.decisions("d", changes_only=True) for line in d["headline"].splitlines()]
    assert any("its place is on" in line for line in told), told


def test_a_model_is_on_as_many_servers_as_its_demand_needs(
    fleet: Fleet, gateway: ModelGateway, new_plane: PlaneFactory
) -> None:
    tree = config(fleet, gateway, {"a": (1, 1, 0), "b": (1, 1, 0)})
    tree["models"][0]["copies"] = {"max": 2}
    tree["policy"] |= {"scale_down_after": "5s"}
    plane = new_plane(tree)
    start(plane, gateway)
    until("both are placed", lambda: sum(map(len, fleet.loaded().values())) == 2, 60, plane.log_text)

    def on(count: int) -> Callable[[], bool]:
        return lambda: sum("a" in held for held in fleet.loaded().values()) == count

    def told() -> str:
        return "\n".join(d["headline"] for d in plane.decisions("a")[:40])

    gateway.send(("b", *["a"] * 6))  # more at once than the one instance that it may have can execute
    until("it is on both", on(2), 60, told)
    gateway.send(("b", "a"))
    until("it is on one again", on(1), 90, told)
    assert gateway.failed == {}
    assert gateway.answers["a", "ok"] > 500


def test_an_ensemble_takes_its_components_with_it_but_not_those_that_another_needs(
    fleet: Fleet, gateway: ModelGateway, forked: ForkedPlane
) -> None:
    tree = config(fleet, gateway, {"a": (1, 1, 0), "b": (1, 1, 0)})
    ensembles = {"both": ["a", "b"], "one": ["a"]}

    def placed(both: str, one: str) -> None:
        """A person says where each is to be, and it comes to that."""
        runs_on = {"both": both, "one": one}
        models = [{"name": n, "runs_on": ["t*"], "components": parts} for n, parts in ensembles.items()]
        forked.configure({**tree, "models": tree["models"] + models})
        start(forked, gateway)
        for name, server in runs_on.items():
            load(forked, name, server)
        wanted: dict[str, set[str]] = {"t0": set(), "t1": set()}
        for name, server in runs_on.items():
            wanted[server] |= {name, *ensembles[name]}
        until(f"{wanted} is so", lambda: fleet.loaded() == wanted and not fleet.busy(), 60, fleet.loaded)
        gateway.send(tuple(ensembles))
        for name in ensembles:
            call(forked, "DELETE", f"models/{name}/overrides")
        forked.kill()

    for both, one in (("t0", "t0"), ("t1", "t0"), ("t1", "t1")):
        placed(both, one)
    assert gateway.failed == {}


def test_killed_at_random_moments_it_comes_to_what_was_planned_without_a_needless_step(
    fleet: Fleet, gateway: ModelGateway, forked: ForkedPlane
) -> None:
    chance = random.Random(7)  # noqa: S311 - plans and moments, not secrets
    moves = kills = 0
    for number in range(PLANS):
        wanted = {name: (gib, chance.choice((1, 2)), chance.randrange(3)) for name, gib in SIZES_GIB.items()}
        before, loads, unloads = fleet.loaded(), fleet.loads(), fleet.unloads()
        plan = planned(before, wanted)
        moves += len(plan.moves)
        forked.configure(config(fleet, gateway, wanted))
        start(forked, gateway)
        for _ in range(chance.choice((1, 1, 2))):
            moment_s = chance.uniform(0.2, 3.0)
            if kills % 2:
                time.sleep(moment_s)
            else:
                step = "a step is under way, or none is left"
                until(step, lambda: under_way(forked) or settled(fleet, wanted), 60)  # noqa: B023
            forked.kill()
            kills += 1
            start(forked, gateway)
        carried_out(f"plan {number}", forked, fleet, wanted)
        forked.kill()
        after = fleet.loaded()
        what = f"plan {number}: {wanted}, {before} -> {after}"
        assert short(planned(after, wanted)) == short(plan), what
        assert since(fleet.loads(), loads) == moved(after, before), what
        gone = moved(before, after)
        until(f"{what} is logged", lambda: since(fleet.unloads(), unloads).total() >= gone.total(), 60)  # noqa: B023
        assert since(fleet.unloads(), unloads) == gone, what
    hit = forked.log_text().count("action was interrupted by a stop")
    print(f"{PLANS} plans of {moves} moves, {kills} kills, {hit} actions interrupted")  # noqa: T201 - of a long run
    assert moves >= PLANS
    assert hit, "a kill hit a step"
