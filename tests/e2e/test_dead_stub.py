"""A dead python stub keeps its model READY: it is found by its failing requests and healed by one full reload."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import kill_stub, send, stubs, traffic
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT = "bert_classifier"


def healed(plane: Plane) -> list[dict[str, object]]:
    """Reloads that were carried out."""
    reloads = [d for d in plane.decisions(BERT, changes_only=True) if d["step"] == "reload"]
    return [d for d in reloads if any(o["status"] == "succeeded" for o in d["outcomes"])]


def told(plane: Plane, decision_id: str) -> str:
    explained = plane.cli("explain", decision_id)
    assert explained.returncode == 0, explained.stderr
    return explained.stdout


@pytest.mark.parametrize("instances", [1, 3])
def test_a_dead_stub_is_seen_by_traffic_and_healed_by_one_reload_with_the_right_count(
    triton_rig: RigFactory, new_plane: PlaneFactory, instances: int
) -> None:
    rig = triton_rig([BERT], load=[BERT])
    plane = new_plane(config(rig, [{"name": BERT, "instances": {"min": instances, "max": instances}}]))
    plane.start()
    plane.until_instances(BERT, instances)
    old = stubs(rig, BERT, instances)
    with traffic(rig, BERT, 2 * instances) as requests:
        plane.until_ticked(3)
        assert requests.failed == {}
        kill_stub(old[0])
        began = time.monotonic()
        until("a reload", lambda: healed(plane), 15, lambda: plane.decisions(BERT)[-5:])
        took_s = time.monotonic() - began
        failed = sum(requests.failed.values())
        assert failed > 0
        assert "Stub process" in "".join(requests.failed)
        plane.until_ticked(4)
        assert sum(requests.failed.values()) - failed <= 2 * instances, "only those under way failed after the reload"
    # Triton keeps the old version's instances for as long as the request in the dead one's hands, which is for ever.
    assert len(set(rig.stub_pids(BERT)) - set(old)) == instances
    send(rig, BERT, 3 * instances)
    assert len(healed(plane)) == 1
    assert took_s < 10, "a few ticks"
    text = told(plane, str(healed(plane)[0]["id"]))
    for words in ("requests failed as with a dead process", "[backend; full reload]", "reload succeeded"):
        assert words in text, text


def test_without_traffic_a_probe_finds_the_dead_stub(triton_rig: RigFactory, new_plane: PlaneFactory) -> None:
    rig = triton_rig([BERT], load=[BERT])
    plane = new_plane(config(rig, [{"name": BERT, "probe": {"every": "500ms", "timeout": "500ms"}}]))
    plane.start()
    old = stubs(rig, BERT, 1)
    plane.until_ticked(2)
    kill_stub(old[0])
    until("a reload", lambda: healed(plane), 20, lambda: plane.decisions(BERT)[-5:])
    plane.until_ticked(4)
    assert len(set(rig.stub_pids(BERT)) - set(old)) == 1
    send(rig, BERT, 2)
    assert len(healed(plane)) == 1
