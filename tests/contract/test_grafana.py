"""Pushing to a Grafana: one of our own, and a real one where GRAFANA_URL and GRAFANA_TOKEN name one for tests.

A real one holds the product's dashboards afterwards.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.cli.main import execute
from controlplane.collect.token_file import read_token
from controlplane.domain.errors import GrafanaRefusedError, TargetUnreachableError
from controlplane.domain.routing import GrafanaSettings
from controlplane.publish.grafana.annotations import Annotation
from controlplane.publish.grafana.client import Grafana
from controlplane.publish.grafana.push import DATASOURCE_UID, FOLDER_UID, Change, Did, push
from tests.grafana_server import TOKEN, GrafanaServer, grafana_served

PROMETHEUS = "http://prometheus:9090"


def board(uid: str, title: str, panels: int = 1, **more: Any) -> dict[str, Any]:
    made = [
        {"id": n, "type": "stat", "title": f"p{n}", "gridPos": {"x": 0, "y": n, "w": 24, "h": 1}} for n in range(panels)
    ]
    return {
        "uid": uid,
        "id": None,
        "title": title,
        "tags": ["controlplane"],
        "schemaVersion": 39,
        "panels": made,
    } | more


BOARDS = {"cp-fleet": board("cp-fleet", "Fleet (contract)"), "cp-slo": board("cp-slo", "SLO (contract)")}


def settings_for(url: str, folder: Path, token: str = TOKEN, **more: str) -> GrafanaSettings:
    file = folder / "grafana-token"
    file.write_text(token)
    return GrafanaSettings(url, file, PROMETHEUS, **more)


@pytest.fixture
def served() -> Iterator[GrafanaServer]:
    with grafana_served() as server:
        yield server


@pytest.fixture(params=["ours", "real"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> GrafanaSettings:
    if request.param == "ours":
        return settings_for(request.getfixturevalue("served").url, tmp_path)
    url, token = os.environ.get("GRAFANA_URL", "").rstrip("/"), os.environ.get("GRAFANA_TOKEN", "")
    if not url or not token:
        pytest.skip("no real Grafana: GRAFANA_URL and GRAFANA_TOKEN name none")
    return settings_for(url, tmp_path, token)


@pytest.fixture
def grafana(settings: GrafanaSettings) -> Iterator[Grafana]:
    opened = Grafana(settings, read_token)
    yield opened
    opened.close()


def pushed(grafana: Grafana, settings: GrafanaSettings, boards: Any = None, *, dry_run: bool = False) -> list[Change]:
    return list(push(grafana, settings, BOARDS if boards is None else boards, dry_run=dry_run))


def test_what_was_pushed_is_there_and_a_second_push_writes_nothing(grafana: Grafana, settings: GrafanaSettings) -> None:
    assert grafana.version()
    pushed(grafana, settings)
    stored = {uid: grafana.dashboard(uid) for uid in BOARDS}
    for uid, kept in stored.items():
        assert kept is not None
        assert kept.folder_uid == FOLDER_UID
        assert kept.dashboard["title"] == BOARDS[uid]["title"]
    folder, datasource = grafana.folder(FOLDER_UID), grafana.datasource(DATASOURCE_UID)
    assert folder is not None
    assert folder["title"] == settings.folder
    assert datasource is not None
    assert (datasource["url"], datasource["type"]) == (PROMETHEUS, "prometheus")

    assert {change.did for change in pushed(grafana, settings)} == {Did.UNCHANGED}
    assert {uid: grafana.dashboard(uid) for uid in BOARDS} == stored


def test_one_that_changed_is_written_and_one_that_is_no_more_is_deleted(
    grafana: Grafana, settings: GrafanaSettings
) -> None:
    pushed(grafana, settings, BOARDS | {"cp-old": board("cp-old", "Old (contract)")})
    now = {**BOARDS, "cp-slo": board("cp-slo", "SLO (contract)", panels=2)}
    dry = {change.uid: change.did for change in pushed(grafana, settings, now, dry_run=True)}
    assert dry["cp-slo"] is Did.UPDATED
    assert dry["cp-old"] is Did.DELETED
    assert grafana.dashboard("cp-old") is not None

    done = {change.uid: change.did for change in pushed(grafana, settings, now)}
    assert done == dry
    assert grafana.dashboard("cp-old") is None
    kept = grafana.dashboard("cp-slo")
    assert kept is not None
    assert len(kept.dashboard["panels"]) == 2


def test_an_annotation_is_written_once_also_where_its_answer_was_lost(grafana: Grafana) -> None:
    at = round(time.time(), 3)  # noqa: TID251 - a real one keeps what is new
    annotation = Annotation(at, "a <b>model</b> was loaded", ("controlplane", "action", "model:bert"), at + 2)
    grafana.annotate(annotation)
    grafana.annotate(annotation, again=True)
    found = grafana._call(lambda: grafana._api.annotations.find_annotations(round(at * 1000), round(at * 1000) + 2000))
    (written,) = [row for row in found if row["time"] == round(at * 1000)]
    assert written["text"] == "a &lt;b&gt;model&lt;/b&gt; was loaded"
    assert set(annotation.tags) <= set(written["tags"])


# What only ours can be made to do


@pytest.fixture
def own(served: GrafanaServer, tmp_path: Path) -> Iterator[tuple[Grafana, GrafanaSettings, GrafanaServer]]:
    settings = settings_for(served.url, tmp_path)
    opened = Grafana(settings, read_token, timeout_s=2.0)
    yield opened, settings, served
    opened.close()


Own = tuple[Grafana, GrafanaSettings, GrafanaServer]


def test_nothing_of_other_people_is_touched(own: Own) -> None:
    grafana, settings, server = own
    pushed(grafana, settings)
    theirs = board("cp-theirs", "In our folder, without our tag") | {"tags": ["theirs"]}
    other = board("team-board", "With our tag and another uid")
    elsewhere = board("cp-copy", "A copy in another folder")
    server.folders["team"] = {"uid": "team", "title": "team", "version": 1}
    for made, folder in ((theirs, FOLDER_UID), (other, FOLDER_UID), (elsewhere, "team")):
        grafana.save_dashboard(made, folder, None)
    server.datasources["other"] = {"uid": "other", "name": "other", "type": "prometheus", "url": "http://other"}
    before = json.dumps([server.dashboards, server.datasources, server.folders])
    server.writes.clear()

    assert {change.did for change in pushed(grafana, settings)} == {Did.UNCHANGED}
    assert server.writes == []
    assert json.dumps([server.dashboards, server.datasources, server.folders]) == before


def test_a_dashboard_of_our_uid_that_is_not_ours_is_refused_and_the_others_are_written(own: Own) -> None:
    grafana, settings, server = own
    server.folders["team"] = {"uid": "team", "title": "team", "version": 1}
    grafana.save_dashboard(board("cp-fleet", "Somebody's") | {"tags": []}, "team", None)
    did = {change.uid: change for change in pushed(grafana, settings)}
    assert did["cp-fleet"].did is Did.REFUSED
    assert "lacks the tag controlplane" in did["cp-fleet"].note
    assert did["cp-slo"].did is Did.CREATED
    assert server.dashboards["cp-fleet"][0]["title"] == "Somebody's"


def test_what_people_set_on_our_data_source_stays_when_its_url_changes(own: Own) -> None:
    grafana, settings, server = own
    pushed(grafana, settings)
    server.datasources[DATASOURCE_UID]["jsonData"] = {"httpMethod": "POST", "tlsSkipVerify": True}
    server.datasources[DATASOURCE_UID]["name"] = "Metrics of serving"
    moved = GrafanaSettings(settings.url, settings.token_file, "http://elsewhere:9090")
    assert {c.uid: c.did for c in pushed(grafana, moved)}[DATASOURCE_UID] is Did.UPDATED
    kept = server.datasources[DATASOURCE_UID]
    assert (kept["url"], kept["name"]) == ("http://elsewhere:9090", "Metrics of serving")
    assert kept["jsonData"]["tlsSkipVerify"] is True


def test_an_editor_writes_dashboards_and_is_told_that_the_data_source_is_left(own: Own) -> None:
    grafana, settings, server = own
    server.role = "Editor"
    did = {change.uid: change for change in pushed(grafana, settings)}
    assert did[DATASOURCE_UID].did is Did.LEFT
    assert "no rights on data sources" in did[DATASOURCE_UID].note
    assert did["cp-fleet"].did is Did.CREATED


def test_what_is_provisioned_from_files_is_unchanged_where_it_is_the_same_and_else_refused(own: Own) -> None:
    grafana, settings, server = own
    pushed(grafana, settings)
    server.dashboards = {uid: (kept, meta | {"provisioned": True}) for uid, (kept, meta) in server.dashboards.items()}
    server.datasources[DATASOURCE_UID] |= {"readOnly": True, "url": "http://of-the-files"}
    did = {c.uid: c for c in pushed(grafana, settings, BOARDS | {"cp-slo": board("cp-slo", "Newer")})}
    assert did["cp-fleet"].did is Did.UNCHANGED
    assert did["cp-slo"].did is Did.REFUSED
    assert "from files" in did["cp-slo"].note
    assert did[DATASOURCE_UID].did is Did.LEFT


def test_one_that_somebody_saves_at_the_same_moment_is_not_overwritten(own: Own) -> None:
    grafana, settings, server = own
    pushed(grafana, settings)
    with pytest.raises(GrafanaRefusedError, match=r"changed by someone else \(HTTP 412\)"):
        grafana.save_dashboard(board("cp-slo", "Newer"), FOLDER_UID, 7)
    assert server.dashboards["cp-slo"][0]["title"] == "SLO (contract)"


def test_a_renamed_folder_and_one_that_was_edited_by_hand_are_put_right(own: Own) -> None:
    grafana, settings, server = own
    pushed(grafana, settings)
    server.dashboards["cp-slo"][0]["panels"].append({"id": 9, "type": "text", "title": "by hand"})
    server.dashboards["cp-fleet"][0]["timezone"] = "browser"  # a default that Grafana adds
    renamed = GrafanaSettings(settings.url, settings.token_file, PROMETHEUS, "Serving")
    did = {change.uid: change.did for change in pushed(grafana, renamed)}
    assert did == {
        FOLDER_UID: Did.UPDATED,
        DATASOURCE_UID: Did.UNCHANGED,
        "cp-fleet": Did.UNCHANGED,
        "cp-slo": Did.UPDATED,
    }
    assert server.folders[FOLDER_UID]["title"] == "Serving"


@pytest.mark.parametrize(
    ("status", "kind", "text", "error", "told"),
    [
        (
            401,
            "application/json",
            '{"message": "Invalid API key"}',
            GrafanaRefusedError,
            "grafana-token is not accepted",
        ),
        (403, "application/json", '{"message": "no rights"}', GrafanaRefusedError, "has no right to: no rights"),
        (404, "text/plain", "404 page not found", GrafanaRefusedError, "has no Grafana API: wrong URL?"),
        (200, "text/html; charset=utf-8", "<!doctype html><title>Log in</title>", GrafanaRefusedError, "wrong URL?"),
        (200, "application/json", "{", GrafanaRefusedError, "not JSON"),
        (302, "text/html", "", GrafanaRefusedError, "redirects are not followed"),
        (500, "application/json", '{"message": "database is locked"}', TargetUnreachableError, "HTTP 500: .*locked"),
        (429, "application/json", '{"message": "too many requests"}', TargetUnreachableError, "HTTP 429: too many"),
        (503, "text/html", "<html>starting</html>", TargetUnreachableError, "HTTP 503: a page for browsers"),
    ],
)
def test_every_wrong_answer_is_told_from_every_other(
    own: Own, status: int, kind: str, text: str, error: type[Exception], told: str
) -> None:
    grafana, _, server = own
    server.answers_with = (status, kind, text)
    with pytest.raises(error, match=told) as caught:
        grafana.version()
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "[{}]", "[5]", "null", "5", '{"uid": 1}', '{"dashboard": {"version": []}}']
)
def test_an_answer_that_lacks_what_it_must_have_is_told_in_one_line(
    tmp_path: Path, own: Own, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    grafana, settings, server = own
    server.answers_with = (200, "application/json", text)
    asked: list[Callable[[], object]] = [
        lambda: grafana.folder(FOLDER_UID),
        lambda: grafana.datasource(DATASOURCE_UID),
        lambda: grafana.dashboard("cp-slo"),
        lambda: grafana.dashboards("controlplane", FOLDER_UID),
        lambda: grafana.annotate(Annotation(1.0, "a", ("controlplane",)), again=True),
        lambda: pushed(grafana, settings),
    ]
    if text == "[]":  # no rows
        del asked[3:5]
    for ask in asked:
        with pytest.raises(GrafanaRefusedError, match="not an answer of a Grafana") as caught:
            ask()
        assert len(str(caught.value).splitlines()) == 1
    assert execute(["dashboards", "push", "--config", str(configuration(tmp_path, server.url))]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (500, "text/plain", f"request was\nAuthorization: Bearer {TOKEN}\r\n" + "x" * 5000),
        (500, "application/json", json.dumps({"message": f"{TOKEN} and bearer of-somebody-else, too"})),
        (500, "application/json", json.dumps([{"headers": {"Authorization": f"Bearer {TOKEN}"}}])),
        (403, "text/plain", "y" * 195 + TOKEN),
        (400, "application/json", json.dumps({"message": f"Basic of-somebody-else {TOKEN}"})),
        (200, "application/json", json.dumps({"said": f"Bearer {TOKEN}"})),
        (200, "text/plain", f"your token is {TOKEN}"),
    ],
)
def test_no_message_holds_a_token_that_the_server_says(own: Own, status: int, kind: str, text: str) -> None:
    grafana, settings, server = own
    server.answers_with = (status, kind, text)
    asked: list[Callable[[], object]] = [lambda: grafana.folder(FOLDER_UID), lambda: pushed(grafana, settings)]
    for ask in asked:
        with pytest.raises((GrafanaRefusedError, TargetUnreachableError)) as caught:
            ask()
        told = str(caught.value)
        assert "glsa_" not in told
        assert "of-somebody-else" not in told
        assert len(told) < 400
        assert len(told.splitlines()) == 1


def test_a_version_that_holds_the_token_is_not_shown(own: Own) -> None:
    grafana, _, server = own
    server.answers_with = (200, "application/json", json.dumps({"database": "ok", "version": f"12 {TOKEN}"}))
    assert grafana.version() == "12 ***"


def test_a_login_page_in_place_of_an_answer_is_told_as_such(own: Own) -> None:
    grafana, _, server = own
    server.answers_with = (200, "text/html", "<!doctype html>")
    with pytest.raises(GrafanaRefusedError, match="a page for browsers, such as that of a login"):
        grafana.annotate(Annotation(1.0, "a", ("controlplane",)))
    with pytest.raises(GrafanaRefusedError, match="a page for browsers"):
        grafana.folder(FOLDER_UID)


def test_no_grafana_at_all_is_transient(tmp_path: Path) -> None:
    with grafana_served() as server:
        settings = settings_for(server.url, tmp_path)
    gone = Grafana(settings, read_token)
    with pytest.raises(TargetUnreachableError, match="connection refused"):
        gone.version()
    gone.close()


def test_an_answer_that_drips_ends_at_the_deadline(served: GrafanaServer, tmp_path: Path) -> None:
    served.drips = True
    dripped = Grafana(settings_for(served.url, tmp_path), read_token, timeout_s=0.3)
    with pytest.raises(TargetUnreachableError, match=r"no answer within 0.3 s"):
        dripped.version()
    with pytest.raises(TargetUnreachableError, match="an earlier call still hangs"):
        dripped.version()
    dripped.close()


def test_a_token_file_without_a_token_is_named(own: Own) -> None:
    grafana, settings, _ = own
    settings.token_file.write_text("two words")
    with pytest.raises(GrafanaRefusedError, match="grafana-token must hold one token") as caught:
        grafana.version()
    assert "two words" not in str(caught.value)


def test_a_lost_answer_makes_no_second_annotation(own: Own) -> None:
    grafana, _, server = own
    server.lost = 1
    annotation = Annotation(1_700_000_000.0, "loaded", ("controlplane", "action"))
    with pytest.raises(TargetUnreachableError):
        grafana.annotate(annotation)
    grafana.annotate(annotation, again=True)
    assert len(server.annotations) == 1


def configuration(folder: Path, url: str) -> Path:
    file = folder / "controlplane.yaml"
    token = folder / "grafana-token"
    token.write_text(TOKEN)
    tree = {
        "servers": [{"name": "t", "kind": "vllm", "http": "http://127.0.0.1:1"}],
        "grafana": {"url": url, "token_file": str(token), "prometheus_url": PROMETHEUS},
    }
    file.write_text(yaml.safe_dump(tree))
    return file


def test_the_command_pushes_all_dashboards_and_says_what_it_did(
    served: GrafanaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(configuration(tmp_path, served.url))
    assert execute(["dashboards", "push", "--config", file, "--dry-run"]) == 0
    assert "dashboard cp-slo: created" in capsys.readouterr().out
    assert served.writes == []
    assert execute(["dashboards", "push", "--config", file]) == 0
    assert "dashboard cp-slo: created" in capsys.readouterr().out
    served.writes.clear()
    assert execute(["dashboards", "push", "--config", file, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {change["did"] for change in told["changes"]} == {"unchanged"}
    assert served.writes == []
    assert {uid for uid in served.dashboards if uid.startswith("cp-")} == set(served.dashboards)


def test_the_command_fails_with_one_line(
    served: GrafanaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configuration(tmp_path, served.url)
    served.datasources[DATASOURCE_UID] = {"uid": DATASOURCE_UID, "name": "logs", "type": "loki", "version": 1}
    assert execute(["dashboards", "push", "--config", str(file)]) == 1
    assert "is of type loki: not ours" in capsys.readouterr().out
    (tmp_path / "grafana-token").write_text("glsa_wrong")
    assert execute(["dashboards", "push", "--config", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is not accepted (HTTP 401)" in line
    assert "glsa_wrong" not in line
    file.write_text("servers: [{name: t, kind: vllm, http: 'http://127.0.0.1:1'}]")
    assert execute(["dashboards", "push", "--config", str(file)]) == 2
    assert "a block with url, token_file and prometheus_url" in capsys.readouterr().err
