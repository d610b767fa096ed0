"""Several models on one quota of GPUs in the simulator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from controlplane.cli.main import OK, USAGE, execute
from controlplane.domain.errors import PermanentError
from controlplane.sim import shapes
from controlplane.sim.runner import Outcome
from controlplane.sim.service import StartUp
from controlplane.sim.together import Tenant, run_together
from controlplane.sim.trace import Requests
from controlplane.sim.world import World
from tests.unit.sim.test_runner import SERVING

QUOTA, GPUS = 12, 2


def a_world(per_s: list[float]) -> World:
    """Requests by minute; one replica serves some six a second."""
    counts = np.rint(60 * np.array(per_s)).astype(np.int64)
    drawn = shapes.from_counts(counts, 1.0, np.random.default_rng(1))
    ones = np.ones(len(drawn), np.int32)
    return World(Requests(drawn.at_s, ones * 1000, ones * 200), SERVING, StartUp(30.0), 4, 1.0)


@pytest.fixture(scope="module")
def tenants() -> list[Tenant]:
    """Both need three at first; then one of them needs four, and the other goes on as it is."""
    rising = a_world([10.0] * 6 + [18.0] * 7)
    return [Tenant("steady", a_world([10.0] * 13)), Tenant("rising", rising, priority=1)]


def most(found: dict[str, Outcome]) -> int:
    """The most replicas that there were at a time."""
    return int(sum(o.curve.ready + o.curve.starting + o.curve.draining for o in found.values()).max())  # type: ignore[union-attr]


def test_ours_gives_the_higher_priority_what_it_needs_and_never_more_than_the_quota(tenants: list[Tenant]) -> None:
    found = run_together(tenants, "ours", None, QUOTA)
    assert most(found) * GPUS <= QUOTA
    assert found["rising"].curve.ready[-1] >= 4
    assert found["rising"].attainment > 0.9
    assert found["steady"].curve.ready[-1] == QUOTA // GPUS - found["rising"].curve.ready[-1]


def test_others_are_cut_first_come_first_served(tenants: list[Tenant]) -> None:
    found = run_together(tenants, "keda", 4.0, QUOTA)
    assert most(found) * GPUS <= QUOTA
    assert found["rising"].curve.ready[-1] == 3, "what the steady one holds is not taken from it"
    alone = run_together(tenants[1:], "keda", 4.0, QUOTA)
    assert alone["rising"].curve.ready[-1] > 3


def test_a_quota_below_what_they_begin_with_is_refused(tenants: list[Tenant]) -> None:
    with pytest.raises(PermanentError, match="a quota of 3 GPUs; the models begin with"):
        run_together(tenants, "keda", 4.0, 3)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    drawn = shapes.from_counts(shapes.diurnal(1, 4)[300:308], 1.0, np.random.default_rng(1))
    path = tmp_path / "log.csv"
    lines = [f"{at:.3f},500,50" for at in drawn.at_s.tolist()]
    path.write_text("\n".join(["at_s,prompt_tokens,output_tokens", *lines]))
    return path


def test_a_file_of_models_is_told_as_json_and_as_a_page(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "models.yaml", tmp_path / "report.html"
    model = f"trace: {log}, peak_replicas: 2"
    file.write_text(f"quota: 16\nmodels:\n  - {{name: a, {model}, priority: 3}}\n  - {{name: b, {model}}}\n")
    options = ("--models", str(file), "--policy", "keda", "--json", "--out", str(page))
    assert execute(("simulate", *options)) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["quota_gpus"] == 16
    assert [(m["name"], m["priority"], m["gpus_per_replica"]) for m in told["models"]] == [("a", 3, 2), ("b", 0, 2)]
    assert told["policies"]["keda"]["a"]["attainment"] > 0.9
    assert "Simulation of 2 models on 16 GPUs" in page.read_text()
    assert execute(("simulate", "--models", str(file), "--policy", "keda")) == OK
    assert "2 models on 16 GPUs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("quota: 0\nmodels: []\n", (), "quota: 0"),
        ("quota: 9\nmodels: [{name: a, trace: conv}, {name: a, trace: conv}]\n", (), "each name once"),
        ("quota: 9\nmodels: [{name: a, trace: conv}]\n", ("--sweep",), "it does not go with --models"),
        ("quota: 9\nmodels: [{name: a, trace: nothing}]\n", (), "known: conv, code, reasoning"),
        ("", (), "valid YAML"),
    ],
)
def test_what_is_not_allowed_in_it_is_told(
    text: str, options: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(text or "quota: [")
    assert execute(("simulate", "--models", str(file), "--policy", "keda", *options)) != OK
    assert told in capsys.readouterr().err
    assert execute(("simulate", "--policy", "keda")) == USAGE
