from pathlib import Path

import pytest

from controlplane.config import load_settings
from controlplane.demo.day_config import write_config
from controlplane.demo.day_plan import MODELS, SHORTEST_S
from controlplane.demo.rig import Ports, TritonRig
from controlplane.domain.fleet import Mode


@pytest.mark.parametrize("day_s", [SHORTEST_S, 120, 150.5, 3600])
def test_the_written_file_is_a_configuration_without_fault(tmp_path: Path, day_s: float) -> None:
    rig = TritonRig(tmp_path, ports=Ports(8000, 8001, 8002), log_path=tmp_path / "triton.log")
    path = tmp_path / "controlplane.yaml"

    write_config(path, rig, api_port=8900, gateway_port=9100, store=tmp_path / "history.db", day_s=day_s)
    settings = load_settings(path, {})

    assert settings.api.port == 8900
    assert settings.store_url == f"sqlite:///{tmp_path}/history.db"
    assert settings.fleet.servers[0].metrics == rig.metrics_url
    assert {m.name: (m.instances_min, m.instances_max) for m in settings.fleet.models} == {
        m.name: (m.instances_min, m.instances_max) for m in MODELS
    }
    assert all(m.mode is Mode.ACT and len(m.objectives) == 2 for m in settings.fleet.models)
    assert settings.policy.scale_down_after_s >= 4 * settings.decide_interval_s


def test_only_the_sleeper_may_be_unloaded_and_it_can_be_woken(tmp_path: Path) -> None:
    rig = TritonRig(tmp_path, ports=Ports(8000, 8001, 8002), log_path=tmp_path / "triton.log")
    write_config(tmp_path / "c.yaml", rig, api_port=1, gateway_port=2, store=tmp_path / "h.db", day_s=150)

    sleepers = [m for m in load_settings(tmp_path / "c.yaml", {}).fleet.models if m.idle_unload_s is not None]

    assert [m.name for m in sleepers] == [m.name for m in MODELS if m.sleeps]
    assert sleepers[0].idle_unload_s == 15
    assert sleepers[0].wake.ensure
