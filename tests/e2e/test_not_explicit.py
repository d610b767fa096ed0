"""A Triton that does not allow model control: one clear error, and nothing but observation."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.demo.rig import Mode
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import config, until
from tests.e2e.traffic import send, stubs
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT, RESNET = "bert_classifier", "resnet50_detector"
REMEDY = "--model-control-mode=explicit"


def test_a_triton_without_model_control_is_observed_only_until_it_comes_back_in_explicit_mode(
    triton_rig: RigFactory, new_plane: PlaneFactory
) -> None:
    modes: tuple[Mode, ...] = ("none", "poll")
    rigs = [triton_rig([BERT, RESNET], mode=mode, extra_args=["--log-verbose=1"]) for mode in modes]
    names = ["triton-none", "triton-poll"]
    models: list[dict[str, Any]] = [{"name": BERT, "instances": {"min": 2, "max": 4}}, {"name": RESNET}]
    tree = config(rigs[0], [model | {"runs_on": names} for model in models])
    tree["servers"] = [
        config(rig, [], server={"name": name})["servers"][0] for rig, name in zip(rigs, names, strict=True)
    ]
    plane = new_plane(tree)
    plane.start()
    plane.until_ticked(3)

    assert [server["control"]["value"] for server in plane.get("servers")] == ["not_allowed"] * 2
    for unit in plane.get(f"models/{BERT}")["units"]:
        decision = unit["decision"]
        assert (decision["step"], decision["binding"]) == ("hold", "control_not_allowed")
        assert REMEDY in decision["headline"]
        assert REMEDY in plane.cli("explain", decision["id"]).stdout
        for method, path, more in (
            ("POST", "load", {}),
            ("POST", "unload", {}),
            ("PUT", "instances", {"instances": 3}),
        ):
            told = {"ttl": "1h", "reason": "by hand", "server": unit["server"], **more}
            status, problem = plane.call(method, f"models/{BERT}/{path}", told)
            assert status == 409
            assert REMEDY in problem["detail"]
    by_hand = plane.cli("model", "load", BERT)
    assert by_hand.returncode == 1
    assert REMEDY in by_hand.stderr
    assert plane.get("overrides") == []

    for rig in rigs:
        send(rig, BERT, 3)
        assert len(rig.stub_pids(BERT)) == 1
        assert "Process for RepositoryModelLoad" not in rig.log_text()
        asked = rig.log_text().count("Process for RepositoryModelUnload, rpc_ok=1, 0 step START")
        assert asked <= 1, "the control mode is asked once"
    assert len([line for line in plane.events() if REMEDY in str(line)]) == 2, "once for each server"

    for rig in rigs:
        rig.kill()
        rig.mode = "explicit"
        rig.start()
    until("they are controllable", lambda: {s["control"]["value"] for s in plane.get("servers")} == {"explicit"}, 15)
    for rig in rigs:
        stubs(rig, BERT, 2)
        stubs(rig, RESNET, 1)
