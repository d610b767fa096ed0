from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controlplane.cli import simulate_tables as tables
from controlplane.cli.main import FAILED, OK, USAGE, execute
from controlplane.cli.tables import show
from controlplane.sim import front, report, shapes, world
from controlplane.sim.document import document
from controlplane.sim.faults import Fault, Kind
from controlplane.sim.front import BOUNDS, Front, Point
from controlplane.sim.peers.perf_model import LatencySlo, Slo
from controlplane.sim.peers.registry import POLICIES
from controlplane.sim.service import BATCH_SERVICES, LlmService, StartUp
from controlplane.sim.serving import BatchServing, LlmServing
from controlplane.sim.trace import Requests
from controlplane.sim.world import World


@pytest.fixture
def log(tmp_path: Path) -> Path:
    drawn = shapes.from_counts(shapes.diurnal(1, 4)[300:308], 1.0, np.random.default_rng(1))
    path = tmp_path / "log.csv"
    lines = [f"{at:.3f},500,50" for at in drawn.at_s.tolist()]
    path.write_text("\n".join(["at_s,prompt_tokens,output_tokens", *lines]))
    return path


def test_a_log_is_simulated_and_told_as_json_and_as_a_page(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    options = ("--trace", str(log), "--policy", "keda,static", "--peak-replicas", "2", "--json", "--out", str(page))
    assert execute(("simulate", *options)) == OK
    told = json.loads(capsys.readouterr().out)
    assert set(told["policies"]) == {"keda", "static"}
    assert told["peak_replicas"] == 2
    static = told["policies"]["static"]["points"][0]
    assert static["attainment"] > 0.9
    assert static["actions"] == 0
    text = page.read_text()
    assert "KEDA on request rate" in text
    assert "static fleet" in text


def test_minutes_of_functions_are_simulated_on_triton_and_under_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    options = ["--trace", "functions:2aec780b", "--since", "1d", "--until", "1d12m", "--peak-replicas", "2"]
    options += ["--policy", "keda", "--fault", "nan@6m+5m", "--fault", "half@1m+1m"]
    assert execute(("simulate", *options, "--json", "--out", str(page))) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["latency_s"] == 0.1
    assert told["faults"] == ["nan@360s+300s", "half@60s+60s"]
    keda = told["policies"]["keda"]
    assert keda["under_faults"]["gpu_hours_wasted"]["mean"] == pytest.approx(
        keda["under_faults"]["gpu_hours"] - keda["points"][0]["gpu_hours"]
    )
    assert "Under nan@360s+300s, half@60s+60s" in page.read_text()


def test_tables_tell_means_over_draws_with_their_range_and_what_faults_did(capsys: pytest.CaptureFixture[str]) -> None:
    counted = shapes.Counted(shapes.constant(60, 7))
    serving = BatchServing(BATCH_SERVICES["bert-large-t4-onnx"], LatencySlo(0.1))
    calm = World(counted.times(1.0, np.random.default_rng(0)), serving, StartUp(30.0), 2, 1.0)
    draws = world.draws(calm, counted, 2)
    (point,) = front.run_all(draws, [("static", 1.0)], 1)
    hurt = Point("static", 1.0, tuple(replace(outcome, gpu_hours=1.5) for outcome in point.outcomes))
    faulty = replace(calm, faults=(Fault(Kind.NAN, 60, 60),))
    fronts = {"static": Front("static", (point,))}
    show(
        tables.summary("load", faulty),
        tables.points(fronts, swept=False),
        tables.harm(faulty, fronts, {"static": hurt}),
    )
    printed = capsys.readouterr().out
    least, most = point.range("attainment").least, point.range("attainment").most
    assert least < point.attainment < most
    assert f"{least:.2%} - {most:.2%}" in printed
    assert "answered within 100 ms" in printed
    assert "Under nan@60s+60s" in printed
    assert f"{1.5 - point.gpu_hours:.1f}" in printed
    told = document("load", faulty, fronts, {"static": hurt})
    assert told["seeds"] == 2
    assert told["policies"]["static"]["points"][0]["attainment_range"] == [least, most]
    assert told["policies"]["static"]["under_faults"]["attainment_lost"] == {"mean": 0, "least": 0, "most": 0}
    page = report.render("load", faulty, fronts, {"static": hurt})
    assert "mean of 2 draws, seeds from 0 on" in page
    assert f"{least:.2%} to {most:.2%}" in page


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--trace", "nothing"), "known: conv, code, reasoning, functions:NAME"),
        (("--trace", "conv", "--policy", "best"), "these are allowed, by comma: ours, hpa, hpa-use, keda"),
        (("--trace", "conv", "--policy", "hpa,keda", "--knob", "3"), "it goes with one --policy and without --sweep"),
        (("--trace", "conv", "--policy", "hpa", "--knob", "0"), "above 0 is allowed"),
        (("--trace", "conv", "--service", "best"), "one of these is allowed on this trace: llama-3.1-8b-a100-tp2"),
        (("--trace", "conv", "--startup", "soon"), "--startup: soon is not allowed"),
        (("--trace", "conv", "--peak-replicas", "0"), "1 to 1000 is allowed"),
        (("--trace", "conv", "--seed", "-1"), "0 or more is allowed"),
        (("--trace", "conv", "--out", "/no/such/folder/report.html"), "a file in a folder that is there"),
        (("--trace", "conv", "--until", "1m"), "policies take over after 300 s"),
        (("--trace", "conv", "--since", "5m", "--until", "5m"), "later than --since, 5m, is allowed"),
        (("--trace", "conv", "--burst", "2"), "it goes with --trace functions:NAME"),
        (("--trace", "conv", "--seeds", "0"), "1 to 100 is allowed"),
        (("--trace", "conv", "--fault", "melted@1m+1m"), "kinds: nan, frozen, 401"),
        (("--trace", "functions:best"), "no function named 'best'; known: 2aec780b"),
        (("--trace", "functions:2aec780b", "--until", "8d"), "no day named '8'; known: 1, 2, 3, 4, 5, 6, 7"),
        (("--trace", "functions:2aec780b", "--since", "90s"), "whole minutes are allowed on functions"),
        (("--trace", "functions:2aec780b", "--burst", "0"), "above 0 is allowed"),
        (("--trace", "functions:2aec780b", "--policy", "wva"), "these are allowed, by comma: ours, hpa, hpa-use, keda"),
        (
            ("--trace", "functions:2aec780b", "--service", "llama-3.1-8b-a100-tp2"),
            "one of these is allowed on this trace: bert-large-t4-onnx",
        ),
    ],
)
def test_what_cannot_be_simulated_is_told_with_what_is_allowed(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(("simulate", *options)) in {FAILED, USAGE}
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


@pytest.mark.parametrize("called", [["simulate", "--trace", "conv"], ["backtest"]])
def test_a_missing_library_is_told_by_the_extra_that_has_it(called: list[str]) -> None:
    without = "import sys; sys.modules['numba'] = None; from controlplane.cli.main import execute; "
    command = f"{without} sys.exit(execute({called}))"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert found.returncode == FAILED
    assert found.stderr == "controlplane: the extra [sim] is not installed: numba is missing\n"


def test_the_page_shows_fronts_and_every_contender() -> None:
    drawn = shapes.from_counts(shapes.constant(8, 7), 1.0, np.random.default_rng(1))
    ones = np.ones(len(drawn), np.int32)
    service = LlmService(0.010, 0.0002, 0.0, 0.0001, kv_tokens=200_000)
    requests = Requests(drawn.at_s, ones * 1000, ones * 200)
    made = World(requests, LlmServing(service, Slo()), StartUp(30.0), 3, 1.0)

    def swept(name: str, *knobs: float) -> Front:
        return Front(name, tuple(Point(name, knob, (front.contender(name).run(knob, made),)) for knob in knobs))

    fronts = {"hpa": swept("hpa", 20.0, 30.0), "static": swept("static", 0.5, 1.0, 3.0)}
    page = report.render("a <trace>", made, fronts, {})
    assert "Simulation of a &lt;trace&gt;" in page
    assert "over GPU-hours" in page
    assert page.count("<section>") == 3
    one = {name: Front(name, swept.points[:1]) for name, swept in fronts.items()}
    assert "over GPU-hours" not in report.render("trace", made, one, {})


def test_the_guide_tells_every_policy_and_bound() -> None:
    guide = (Path(__file__).parents[3] / "docs/how-to/simulate.md").read_text(encoding="utf-8")
    for name in (*POLICIES, *BOUNDS):
        assert f"| `{name}` |" in guide
