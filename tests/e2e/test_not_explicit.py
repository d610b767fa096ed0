"""A Triton that does not allow model control: one clear error, and nothing but observation."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import config, until
from tests.e2e.traffic import send, stubs
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT, RESNET = "bert_classifier", "resnet50_detector"
REMEDY = "--model-control-mode=explicit"


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_a_triton_without_model_control_is_observed_only_until_it_comes_back_in_explicit_mode(
    triton_rig: RigFactory, new_plane: PlaneFactory, mode: Literal["none", "poll"]
) -> None:
    rig = triton_rig([BERT, RESNET], mode=mode, extra_args=["--log-verbose=1"])
    models: list[dict[str, Any]] = [{"name": BERT, "instances": {"min": 2, "max": 4}}, {"name": RESNET}]
    plane = new_plane(config(rig, models))
    plane.start()
    plane.until_ticked(3)

    assert plane.server()["control"]["value"] == "not_allowed"
    decision = plane.unit(BERT)["decision"]
    assert (decision["step"], decision["binding"]) == ("hold", "control_not_allowed")
    assert REMEDY in decision["headline"]
    assert REMEDY in plane.cli("explain", decision["id"]).stdout
    for method, path, more in (
        ("POST", "load", {}),
        ("POST", "unload", {}),
        ("PUT", "instances", {"instances": 3}),
    ):
        status, problem = plane.call(method, f"models/{BERT}/{path}", {"ttl": "1h", "reason": "by hand", **more})
        assert status == 409
        assert REMEDY in problem["detail"]
    by_hand = plane.cli("model", "load", BERT)
    assert by_hand.returncode == 1
    assert REMEDY in by_hand.stderr

    send(rig, BERT, 3)
    plane.until_unit(BERT, "is still observed", lambda u: u["decision"]["binding"] == "control_not_allowed", 5)
    assert len(stubs(rig, BERT, 1)) == 1
    assert plane.get("overrides") == []
    assert "Process for RepositoryModelLoad" not in rig.log_text()
    asked = rig.log_text().count("Process for RepositoryModelUnload, rpc_ok=1, 0 step START")
    assert asked <= 1, "the control mode is asked once"
    assert len([line for line in plane.events() if REMEDY in str(line)]) == 1, plane.log_text()

    rig.mode = "explicit"
    rig.kill()
    rig.start()
    until("it is controllable", lambda: plane.server()["control"]["value"] == "explicit", 15)
    plane.until_instances(BERT, 2)
    plane.until_instances(RESNET, 1)
