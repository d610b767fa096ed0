"""Triton is killed and comes back empty: what should be there comes back, without flapping."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.demo.rig import TritonRig
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.test_killed_plane import counted
from tests.e2e.traffic import send, starts
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT, RESNET, DEEPFM = "bert_classifier", "resnet50_detector", "deepfm_recommender"


@pytest.fixture
def rig(triton_rig: RigFactory) -> TritonRig:
    return triton_rig()


def as_it_should_be(plane: Plane, rig: TritonRig) -> bool:
    return [plane.instances(m) for m in (BERT, RESNET, DEEPFM)] == [3, 1, 0] and len(rig.stub_pids(BERT)) == 3


def test_loaded_set_and_instance_counts_come_back_whenever_triton_was_killed(
    rig: TritonRig, new_plane: PlaneFactory
) -> None:
    asleep = {"idle_unload": "1h", "wake": {"ensure": True}}
    models: list[dict[str, Any]] = [
        {"name": BERT, "instances": {"min": 3, "max": 4}, "objectives": [{"availability": "99%", "window": "1h"}]},
        {"name": RESNET, **asleep},
        {"name": DEEPFM, **asleep},
    ]
    plane = new_plane(config(rig, models))
    plane.start()
    assert plane.call("POST", f"models/{RESNET}/ensure", timeout_s=60)[0] == 200
    until("all is as it should be", lambda: as_it_should_be(plane, rig))
    for model, requests in ((BERT, 20), (RESNET, 2)):
        send(rig, model, requests)
    plane.until_ticked(2)

    rig.kill()
    plane.until_unit(BERT, "is known to be away", lambda u: u["decision"]["binding"] == "server_down", 10)
    plane.until_ticked(2)
    assert plane.unit(BERT)["decision"]["step"] == "hold"
    comes_back(plane, rig, 1)

    rig.kill()  # away for little more than a second
    comes_back(plane, rig, 2)

    until("every slice is closed", lambda: counted(plane) >= 60, 30, lambda: counted(plane))
    plane.until_ticked(2)
    assert counted(plane) == 60, "the counters that began anew are not counted twice"


def comes_back(plane: Plane, rig: TritonRig, incarnation: int) -> None:
    """Starts Triton; everything is as before after one load of each model."""
    at = plane.get("fleet")["at"]
    began = {model: len(starts(rig, model)) for model in (BERT, RESNET)}
    rig.start()
    until("it is as before", lambda: as_it_should_be(plane, rig), 30, lambda: plane.decisions(BERT)[-5:])
    send(rig, BERT, 20)
    plane.until_ticked(3)
    assert as_it_should_be(plane, rig)
    assert plane.server()["incarnation"] == incarnation
    for model in (BERT, RESNET):
        back = [d for d in plane.decisions(model, changes_only=True) if d["at"] > at]
        assert [(d["step"], d["binding"]) for d in back] == [("load", "reconcile")], back
        assert "the server does not have it loaded" in plane.cli("explain", back[0]["id"]).stdout
    assert plane.decisions(DEEPFM, changes_only=True) == []
    assert len(starts(rig, BERT)) - began[BERT] == 3, "no flapping: each instance is started once"
    assert len(starts(rig, RESNET)) - began[RESNET] == 1
