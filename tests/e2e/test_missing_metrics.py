"""What is not known never lowers anything, on a real Triton."""

from __future__ import annotations

import pytest

from controlplane.demo.rig import TritonRig
from tests.e2e.conftest import PlaneFactory
from tests.e2e.metrics_proxy import Fault, metrics_proxy
from tests.e2e.plane import config
from tests.e2e.traffic import set_instances, starts, traffic
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT, RESNET = "bert_classifier", "resnet50_detector"
SLEEPER = {"name": BERT, "instances": {"min": 1, "max": 4}, "idle_unload": "4s", "wake": {"ensure": True}}
QUICK = {"scale_down_after": "3s", "data_max_age": "3s"}


@pytest.fixture
def rig(triton_rig: RigFactory) -> TritonRig:
    """With three instances where one would do."""
    rig = triton_rig([BERT, RESNET], load=[BERT, RESNET])
    for model in (BERT, RESNET):
        set_instances(rig, model, 3)
    return rig


def test_wrong_port_and_spoiled_pages_lower_nothing_and_scaling_goes_on_after_them(
    rig: TritonRig, new_plane: PlaneFactory
) -> None:
    with metrics_proxy(rig.metrics_url) as proxy:
        models = [SLEEPER | {"name": RESNET, "runs_on": ["wrong-port"]}, {**SLEEPER, "idle_unload": "1h"}]
        tree = config(rig, models, server={"metrics": proxy.url}, policy=QUICK)
        wrong = rig.metrics_url.replace(str(rig.ports.metrics), "9")
        tree["servers"].append(tree["servers"][0] | {"name": "wrong-port", "metrics": wrong})
        plane = new_plane(tree)
        faults: tuple[Fault, ...] = ("truncated", "nan", "error", "empty")
        proxy.fault = faults[0]  # a slow start would be time enough to lower something with sound pages
        plane.start()
        for proxy.fault in faults:
            plane.until_ticked(3)
            assert (plane.instances(BERT), plane.instances(RESNET)) == (3, 3)
        for model in (BERT, RESNET):
            assert plane.bindings(model)[-1] == "data_missing"
            assert "data missing" in plane.cli("explain", plane.decisions(model)[-1]["id"]).stdout
            assert plane.decisions(model, changes_only=True) == []
        proxy.fault = ""
        back_at = plane.get("fleet")["at"]
        plane.until_instances(BERT, 1)
    (lowered,) = plane.decisions(BERT, changes_only=True)
    assert (lowered["step"], lowered["binding"]) == ("set_instances", "consolidation")
    assert lowered["at"] > back_at + 1.9, "a dwell (less a tick): the time without data is no time of low demand"

    assert plane.decisions(RESNET, changes_only=True) == []
    assert plane.unit(RESNET)["pending"]["state"] == "missing"
    assert len(starts(rig, RESNET)) == len(rig.stub_pids(RESNET)) == 3
    told = [line["why"] for line in plane.events("target cannot be read") if line["target"] == "wrong-port"]
    assert len(told) == 1, "it is said once"
    assert "metrics page" in told[0]


def test_a_page_that_stands_still_while_requests_are_served_is_not_taken_for_idleness(
    rig: TritonRig, new_plane: PlaneFactory
) -> None:
    with metrics_proxy(rig.metrics_url) as proxy:
        plane = new_plane(
            config(rig, [SLEEPER], server={"metrics": proxy.url}, policy=QUICK | {"scale_down_after": "8s"})
        )
        plane.start()
        with traffic(rig, BERT, 6) as requests:
            plane.until_ticked(2)
            proxy.fault = "frozen"
            plane.until_ticked(8)
            assert plane.instances(BERT) == 3
            assert plane.decisions(BERT, changes_only=True) == []
            assert plane.bindings(BERT)[-1] == "data_missing"
        assert requests.failed == {}


def test_probes_do_not_keep_an_idle_model_awake(rig: TritonRig, new_plane: PlaneFactory) -> None:
    probed = SLEEPER | {
        "probe": {"every": "500ms", "timeout": "500ms"},
        "objectives": [{"latency": "200ms", "target": "99%", "window": "1h", "source": "probe"}],
    }
    plane = new_plane(config(rig, [probed]))
    plane.start()
    plane.until_instances(BERT, 0, 25)
    unload = next(d for d in plane.decisions(BERT, changes_only=True) if d["step"] == "unload")
    assert unload["binding"] == "idle"
