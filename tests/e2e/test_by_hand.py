"""What people say and what the policy does, in every mode, on a real Triton."""

from __future__ import annotations

import time

import pytest

from controlplane.demo.rig import TritonRig
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import config
from tests.e2e.traffic import starts, stubs, traffic
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT, RESNET = "bert_classifier", "resnet50_detector"
BERT_1_TO_4 = {"name": BERT, "instances": {"min": 1, "max": 4}}


@pytest.fixture
def rig(triton_rig: RigFactory) -> TritonRig:
    return triton_rig([BERT, RESNET], repository={"time_scale": 3.0}, load=[BERT])


def test_in_recommend_mode_it_decides_and_acts_only_for_people(rig: TritonRig, new_plane: PlaneFactory) -> None:
    tree = config(rig, [BERT_1_TO_4])
    del tree["mode"]  # recommend is the default
    plane = new_plane(tree)
    plane.start()
    before = stubs(rig, BERT, 1)
    with traffic(rig, BERT, 12):
        plane.until_unit(BERT, "shall be raised", lambda u: u["decision"]["step"] == "set_instances", 20)
        plane.until_ticked(2)
    decision = next(d for d in plane.decisions(BERT) if d["step"] == "set_instances")
    assert (decision["actionable"], decision["outcomes"]) == (False, [])
    assert "nothing: mode recommend" in plane.cli("explain", decision["id"]).stdout
    assert rig.stub_pids(BERT) == before

    told = plane.cli("model", "instances", BERT, "3", "--for", "5m", "--reason", "launch")
    assert told.returncode == 0, told.stderr
    assert "succeeded" in told.stdout
    assert before[0] in stubs(rig, BERT, 3)


def test_an_override_holds_over_ticks_and_a_restart_until_unpin_ends_it(
    rig: TritonRig, new_plane: PlaneFactory
) -> None:
    plane = new_plane(config(rig, [BERT_1_TO_4], policy={"scale_down_after": "3s"}))
    plane.start()
    assert "succeeded" in plane.cli("model", "instances", BERT, "3", "--for", "5m").stdout
    three = stubs(rig, BERT, 3)
    plane.until_ticked(4)
    plane.stop()
    plane.start()
    plane.until_ticked(3)
    assert rig.stub_pids(BERT) == three
    assert len(starts(rig, BERT)) == 3
    assert [o["instances"] for o in plane.get("overrides")] == [3]
    assert plane.bindings(BERT)[-1] == "override"

    assert "1 override withdrawn" in plane.cli("model", "unpin", BERT).stdout
    plane.until_instances(BERT, 1)
    assert plane.decisions(BERT, changes_only=True)[-1]["binding"] == "consolidation"


def test_freeze_stops_scaling_under_load_and_unfreeze_lets_it(rig: TritonRig, new_plane: PlaneFactory) -> None:
    plane = new_plane(config(rig, [BERT_1_TO_4]))
    plane.start()
    assert plane.cli("freeze", "--reason", "incident", "--for", "10m").returncode == 0
    with traffic(rig, BERT, 6) as answers:
        plane.until_unit(BERT, "is held by the freeze", lambda u: u["decision"]["binding"] == "frozen", 20)
        plane.until_ticked(2)
        assert plane.instances(BERT) == 1
        assert plane.cli("unfreeze").returncode == 0
        plane.until_unit(BERT, "is raised", lambda u: (u["instances"]["value"] or 0) > 1, 20)
    assert answers.failed == {}
    changes = plane.decisions(BERT, changes_only=True)
    assert {d["step"] for d in changes} == {"set_instances"}


def test_ensure_returns_when_an_unloaded_model_is_ready(rig: TritonRig, new_plane: PlaneFactory) -> None:
    sleeper = {"name": RESNET, "instances": {"min": 1, "max": 2}, "idle_unload": "1h", "wake": {"ensure": True}}
    plane = new_plane(config(rig, [BERT_1_TO_4, sleeper]))
    plane.start()
    plane.until_ticked()
    assert plane.instances(RESNET) == 0, "a model that sleeps is not loaded unasked"
    status, ready = plane.call("POST", f"models/{RESNET}/ensure?timeout=30", timeout_s=40)
    assert (status, ready["servers"]) == (200, ["triton-0"])
    with traffic(rig, RESNET, 1) as answers:
        time.sleep(0.5)
    assert answers.answers["ok"] > 0
    assert answers.failed == {}
    status, again = plane.call("POST", f"models/{RESNET}/ensure?timeout=30")
    assert (status, again["waited_s"] < 1) == (200, True)
    loads = [d for d in plane.decisions(RESNET, changes_only=True) if d["step"] == "load"]
    assert [d["binding"] for d in loads] == ["wanted"]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(rig: TritonRig, new_plane: PlaneFactory) -> None:
    plane = new_plane(config(rig, [{**BERT_1_TO_4, "instances": {"min": 2, "max": 4}}, {"name": RESNET}]))
    plane.start("--dry-run")
    logged = len(rig.log_text())
    plane.until_unit(RESNET, "is to be loaded", lambda u: u["decision"]["step"] == "load", 10)
    plane.until_ticked(2)
    for model, step in ((BERT, "set_instances"), (RESNET, "load")):
        outcomes = [o for d in plane.decisions(model) if d["step"] == step for o in d["outcomes"]]
        assert {o["status"] for o in outcomes} == {"dry_run"}
    plane.until_ticked(2)
    assert (plane.instances(BERT), plane.instances(RESNET)) == (1, 0)
    assert "load" not in rig.log_text()[logged:]
    assert len(starts(rig, BERT)) == 1
