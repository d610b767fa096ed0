from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli.main import execute
from controlplane.collect import families
from controlplane.collect.vllm.server import REFUSED
from controlplane.publish.dashboards import dashboards, files, raw
from controlplane.publish.dashboards.outcomes import ANSWERED, FAILED
from controlplane.publish.dashboards.page import page
from tests.dashboard_lint import faults, listed, queries, selectors, wrong_promql

ROOT = Path(__file__).parents[4]
DASHBOARDS = dashboards()
VARIABLES = {made["uid"]: {v["name"] for v in made["templating"]["list"]} for made in DASHBOARDS}
of_each = pytest.mark.parametrize("made", DASHBOARDS, ids=lambda made: str(made["uid"]))


def panel(uid: str, title: str) -> dict[str, Any]:
    (made,) = (made for made in DASHBOARDS if made["uid"] == uid)
    (found,) = (panel for panel in made["panels"] if panel["title"] == title and panel["type"] != "row")
    return dict(found)


def test_the_files_that_are_checked_in_are_those_that_are_built() -> None:
    stored = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "dashboards").iterdir()}
    assert stored == files(), "run controlplane dashboards build"


def test_the_reference_is_the_one_that_is_made() -> None:
    stored = (ROOT / "docs/reference/dashboards.md").read_text(encoding="utf-8")
    assert stored == page(), "run python -m controlplane.publish.dashboards.page > docs/reference/dashboards.md"


def test_the_dashboards_are_those_that_alerts_link_to() -> None:
    assert list(VARIABLES) == [
        "cp-fleet",
        "cp-slo",
        "cp-autoscaler",
        "cp-triton",
        "cp-vllm",
        "cp-gpu",
        "cp-cost",
        "cp-control-plane",
    ]


@of_each
def test_nothing_is_wrong_with_a_dashboard(made: dict[str, Any]) -> None:
    assert faults(made, VARIABLES) == []


def test_every_expression_is_promql(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    expressions = {f"{made['uid']}, {where}": expr for made in DASHBOARDS for where, expr in queries(made)}
    assert wrong_promql(expressions, tmp_path) == ""


@of_each
def test_two_replicas_count_nothing_twice(made: dict[str, Any]) -> None:
    for where, expr in queries(made):
        if where.startswith("variable"):
            continue
        merged = re.findall(r"max(?: by \([^)]*\))? \(?(?:\(?(?:rate|increase|changes)\()?(controlplane_\w+)", expr)
        merged += re.findall(r"max\((?:(?:rate|increase)\()?(controlplane_\w+)", expr)
        own = {selector.name for selector in selectors(expr) if selector.name.startswith("controlplane_")}
        assert own <= set(merged), f"{where}: {own - set(merged)}"


def test_no_traffic_is_neither_good_nor_bad() -> None:
    for uid, title in (("cp-fleet", "Failed share"), ("cp-slo", "Bad share"), ("cp-triton", "Mean time of a request")):
        shown = panel(uid, title)
        assert " > 0)" in shown["targets"][0]["expr"]
        assert shown["fieldConfig"]["defaults"]["noValue"] == "no traffic"


def test_a_row_of_a_table_leads_on_to_its_own_model() -> None:
    overrides = panel("cp-fleet", "Models")["fieldConfig"]["overrides"]
    (found,) = (o for o in overrides if any(one["id"] == "links" for one in o["properties"]))
    assert found["matcher"]["options"] == "model"
    urls = [link["url"] for one in found["properties"] for link in one["value"]]
    assert urls[0] == "/d/cp-slo?${__url_time_range}&${datasource:queryparam}&var-model=${__data.fields.model}"


def test_conditions_without_a_model_are_shown_whatever_model_is_chosen() -> None:
    assert 'model=~"$model|"' in panel("cp-fleet", "Wrong now")["targets"][0]["expr"]
    assert r'model=~"$model|\\*|"' in panel("cp-autoscaler", "Freezes")["targets"][0]["expr"]
    assert (
        'model=~"$model|", workload=~"$workload|"' in panel("cp-autoscaler", "Overrides in force")["targets"][0]["expr"]
    )


@of_each
def test_actions_overrides_and_alerts_are_marked(made: dict[str, Any]) -> None:
    marks = {annotation["name"]: annotation for annotation in made["annotations"]["list"]}
    assert {"Actions carried out", "Overrides", "Freezes", "Burn alerts", "Conditions"} <= set(marks)
    assert marks["Pushed as they happen"]["target"]["tags"] == ["controlplane"]


def test_raw_series_are_called_as_where_they_are_read() -> None:
    read = {value for value in vars(families).values() if isinstance(value, str)}
    read |= {name for names in families.VLLM_HISTOGRAMS.values() for name in names}
    used = {raw.VLLM_RUNNING, raw.VLLM_TTFT, raw.VLLM_ITL, raw.VLLM_E2E, raw.VLLM_QUEUE, raw.TRITON_SUCCESS}
    assert used <= read
    assert (raw.VLLM_MODEL, raw.TRITON_MODEL) == (families.VLLM_MODEL, families.TRITON_MODEL)


def test_outcomes_are_those_that_servers_tell() -> None:
    triton = {families.REASON_BACKEND, families.REASON_OTHER, families.REASON_REJECTED}
    assert set(FAILED.split("|")) == {reason.lower() for reason in triton} | {families.VLLM_FINISHED_ERROR, REFUSED}
    recorded = (ROOT / "tests/pages/vllm-0.32.0-under-load.txt").read_text(encoding="utf-8")
    finished = set(re.findall(r'finished_reason="(\w+)"', recorded))
    ended_badly = {families.VLLM_FINISHED_ERROR, families.VLLM_FINISHED_ABORT}
    assert set(ANSWERED.split("|")) == (finished - ended_badly) | {"success"}


def test_variables_list_labels_of_series() -> None:
    assert {listed(v)[1] for made in DASHBOARDS for v in made["templating"]["list"] if v["type"] == "query"} == {
        "job",
        "instance",
        "model",
        "objective",
        "workload",
        "server",
        "node",
        "gpu",
        "model_name",
    }


def test_the_command_writes_checks_and_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--out", str(tmp_path / "new")]
    assert execute(["dashboards", "build", *where]) == 0
    assert {file.name for file in (tmp_path / "new").iterdir()} == set(files())
    assert execute(["dashboards", "build", "--check", *where]) == 0
    (tmp_path / "new/cp-slo.json").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert execute(["dashboards", "build", "--check", "--json", *where]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["different"] == ["cp-slo.json"]
    assert "not up to date: cp-slo.json" in told.err
    assert (tmp_path / "new/cp-slo.json").read_text(encoding="utf-8") == "{}"


def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert execute(["dashboards", "build", "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith(f"controlplane: {tmp_path / 'file'}: ")
