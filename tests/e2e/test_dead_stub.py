"""A dead python stub keeps its model READY: it is found by its failing requests and healed by one full reload."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import kill_stub, send, stubs, traffic
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

ONE, SEVERAL, PROBED = "bert_classifier", "resnet50_detector", "deepfm_recommender"
COUNTS = {ONE: 1, SEVERAL: 3, PROBED: 1}


def healed(plane: Plane, model: str) -> list[dict[str, Any]]:
    """Reloads that were carried out."""
    reloads = [d for d in plane.decisions(model, changes_only=True) if d["step"] == "reload"]
    return [d for d in reloads if any(o["status"] == "succeeded" for o in d["outcomes"])]


def test_dead_stubs_are_seen_by_traffic_or_a_probe_and_healed_by_one_reload_with_the_right_count(
    triton_rig: RigFactory, new_plane: PlaneFactory
) -> None:
    """The only instance of a model under traffic; one of three under traffic; one without traffic but with a probe."""
    rig = triton_rig(load=list(COUNTS))
    models: list[dict[str, Any]] = [{"name": m, "instances": {"min": n, "max": n}} for m, n in COUNTS.items()]
    models[2]["probe"] = {"every": "500ms", "timeout": "500ms"}
    plane = new_plane(config(rig, models))
    plane.start()
    plane.until_instances(SEVERAL, 3)
    old = {model: stubs(rig, model, count) for model, count in COUNTS.items()}
    with ExitStack() as stack:
        requests = {model: stack.enter_context(traffic(rig, model, 2 * COUNTS[model])) for model in (ONE, SEVERAL)}
        plane.until_ticked(2)
        assert all(r.failed == {} for r in requests.values())
        for pids in old.values():
            kill_stub(pids[0])
        began = time.monotonic()
        for model in COUNTS:
            until(f"{model} is reloaded", lambda: healed(plane, model), 20, lambda: plane.decisions(model)[-5:])  # noqa: B023 - asked at once
        assert time.monotonic() - began < 15, "a few ticks"
        failed = {model: sum(r.failed.values()) for model, r in requests.items()}
        plane.until_ticked(4)
        for model, r in requests.items():
            assert "Stub process" in "".join(r.failed)
            assert sum(r.failed.values()) - failed[model] <= 2 * COUNTS[model], "only those under way failed later"
    for model, count in COUNTS.items():
        # Triton keeps the old version's instances for as long as the dead one holds a request, which is for ever.
        assert len(set(rig.stub_pids(model)) - set(old[model])) == count
        send(rig, model, 3)
        (decision,) = healed(plane, model)
        text = plane.cli("explain", decision["id"]).stdout
        for words in ("requests failed as with a dead process", "[backend; full reload]", "reload succeeded"):
            assert words in text, text
