"""What is written for Alertmanager, held against Debian's amtool and Alertmanager."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.config import Settings, load_settings, parse_settings
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.publish.alerting.catalogue import CATALOGUE
from controlplane.publish.alerting.routing import FILE, files
from controlplane.publish.alerting.routing.texts import TEXT, TITLE
from tests.alertmanager_fixtures import Amtool, RealAlertmanager
from tests.unit.config.test_alerts import FLEET, FULL, TEAMS
from tests.unit.docs.pages import ROOT
from tests.webhook_receiver import WebhookReceiver, until

BACK = "controlplane"
NO_BLOCK = parse_settings(FLEET.replace(", team: vision", ""), {})
THREE_SERVERS = """
servers:
  - {name: a, kind: vllm, http: "http://a:8000"}
  - {name: b, kind: vllm, http: "http://b:8000"}
  - {name: d, kind: vllm, http: "http://d:8000"}
models:
  - {name: bert, runs_on: a, team: vision}
  - {name: resnet, runs_on: b}
  - {name: many, runs_on: "*"}
"""
NAMES = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z")


def fleet() -> Settings:
    return load_settings(ROOT / "deploy/examples/fleet.yaml", {"CONTROLPLANE_STORE_PASSWORD_FILE": ""})


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cp-am-"))
    yield made
    shutil.rmtree(made)


def written(found: Settings, folder: Path) -> Path:
    path = folder / FILE
    path.write_text(files(found)[FILE], encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "configured",
    [NO_BLOCK, parse_settings(FLEET + FULL, {}), parse_settings(FLEET + "alerts:" + TEAMS, {}), fleet()],
    ids=["no block", "every key", "teams only", "example fleet"],
)
def test_amtool_takes_what_is_written(amtool: Amtool, folder: Path, configured: Settings) -> None:
    assert "SUCCESS" in amtool.check(written(configured, folder))


def test_every_team_is_told_of_its_models_and_the_escalation_of_all_else(amtool: Amtool, folder: Path) -> None:
    configured = fleet()
    config, alerts = written(configured, folder), configured.alerts
    team_of = {model.name: model.team or alerts.escalation for model in configured.fleet.models}
    assert set(team_of.values()) == {team.name for team in alerts.teams}
    assert any(not model.team for model in configured.fleet.models), "one is owned by nobody"
    nobodys: dict[str, Mapping[str, str]] = {"": {"server": "triton-0"}, "of another fleet": {"model": "stranger"}}
    told: list[tuple[str, Mapping[str, str]]] = [(team, {"model": model}) for model, team in team_of.items()]
    told += [(alerts.escalation, labels) for labels in nobodys.values()]
    for team, labels in told:
        for severity in Severity:
            amtool.route(config, {**labels, "severity": severity}, [BACK, f"{team}/{severity.value}"])
        amtool.route(config, {**labels, "severity": "critical"}, [BACK, f"{team}/page"])


def test_every_alert_of_the_catalogue_reaches_its_team_and_the_watchdog_its_own(amtool: Amtool, folder: Path) -> None:
    config = written(fleet(), folder)
    for text in CATALOGUE:
        labels = {"alertname": text.alert.value, "severity": text.severity.value}
        labels |= {name: {"model": "llama-8b"}.get(name, "any") for name in text.labels}
        team = "llm" if "model" in text.labels else "ml-platform"
        watchdog = text.alert is AlertName.WATCHDOG
        amtool.route(config, labels, ["watchdog"] if watchdog else [BACK, f"{team}/{text.severity.value}"])


def test_without_teams_only_the_control_plane_is_told(amtool: Amtool, folder: Path) -> None:
    config = written(NO_BLOCK, folder)
    amtool.route(config, {"model": "bert", "severity": "page"}, ["nobody"])
    amtool.route(config, {"alertname": "Watchdog"}, ["nobody"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_a_model_of_any_name_goes_to_its_team_and_one_of_a_like_name_does_not(
    amtool: Amtool, folder: Path, name: str
) -> None:
    config = written(parse_settings(f"{FLEET.replace('bert', repr(name))}alerts:{TEAMS}", {}), folder)
    amtool.route(config, {"model": name, "severity": "page"}, ["vision/page"])
    other = f"{name}x" if name.isalnum() else name.translate({ord("."): "_", ord("-"): "_", ord("_"): "-"})
    amtool.route(config, {"model": other, "severity": "page"}, ["platform/page"])


def test_a_notice_says_what_since_when_and_where_to_go_on(amtool: Amtool, folder: Path) -> None:
    firing = {
        "status": "firing",
        "labels": {"alertname": "ErrorBudgetBurn", "severity": "page", "model": "bert"},
        "annotations": {
            "summary": "Model bert burns its budget",
            "description": "The burn rate is 20.",
            "runbook_url": "http://r/ErrorBudgetBurn.md",
            "dashboard_url": "http://g/d/cp-slo",
        },
        "startsAt": "2026-11-22T12:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    stranger = {**firing, "labels": {"alertname": "Other", "severity": "page"}, "annotations": {}}
    over = {**firing, "status": "resolved", "endsAt": "2026-11-22T12:30:00Z"}

    def rendered(template: str, status: str, *alerts: object) -> str:
        return amtool.render(template, {"status": status, "alerts": alerts, "commonAnnotations": {}}, folder)

    assert rendered(TITLE, "firing", firing) == "Model bert burns its budget"
    assert rendered(TITLE, "firing", stranger, firing, over) == "Other (one of 2 alerts)"
    assert rendered(TITLE, "resolved", over) == "Over: Model bert burns its budget"
    assert rendered(TEXT, "firing", firing, over).splitlines() == [
        "ErrorBudgetBurn (page): Model bert burns its budget",
        "The burn rate is 20.",
        "Since 2026-11-22 12:00:00 UTC",
        "Runbook: http://r/ErrorBudgetBurn.md",
        "Dashboard: http://g/d/cp-slo",
        "",
        "ErrorBudgetBurn is over: Model bert burns its budget",
        "From 2026-11-22 12:00:00 UTC to 2026-11-22 12:30:00 UTC",
        "",
    ]


def kept_back(alertmanager: RealAlertmanager) -> set[str]:
    found = alertmanager.get("alerts?active=false")
    return {alert["annotations"]["summary"] for alert in found if alert["status"]["inhibitedBy"]}


def groups(alertmanager: RealAlertmanager) -> dict[tuple[str, tuple[tuple[str, str], ...]], set[str]]:
    """The alerts that go out together, by receiver and what they have in common."""
    return {
        (group["receiver"]["name"], tuple(sorted(group["labels"].items()))): {
            alert["annotations"]["summary"] for alert in group["alerts"]
        }
        for group in alertmanager.get("alerts/groups")
    }


def test_alertmanager_groups_by_model_and_keeps_back_what_follows(alertmanager: RealAlertmanager) -> None:
    nowhere = {"CONTROLPLANE_ALERTS__CONSOLE_URL": "", "CONTROLPLANE_ALERTS__HOOK_TOKEN_FILE": ""}
    alertmanager.start(files(parse_settings(THREE_SERVERS + FULL, nowhere))[FILE])
    bert, resnet = {"model": "bert", "objective": "latency"}, {"model": "resnet", "objective": "latency"}
    told: Mapping[str, dict[str, str]] = {
        "bert burns": {"alertname": "ErrorBudgetBurn", "severity": "page", **bert},
        "bert burns slowly": {"alertname": "ErrorBudgetBurn", "severity": "ticket", **bert},
        "bert burns elsewhere": {"alertname": "ErrorBudgetBurn", "severity": "ticket", **bert, "objective": "ttft"},
        "bert is exhausted": {"alertname": "ErrorBudgetExhausted", "severity": "ticket", **bert},
        "bert fails": {"alertname": "ModelFailing", "severity": "page", "model": "bert", "server": "a"},
        "resnet burns": {"alertname": "ErrorBudgetBurn", "severity": "page", **resnet},
        "server of resnet down": {"alertname": "ServerDown", "severity": "page", "model": "resnet", "server": "b"},
        "resnet fails there": {"alertname": "ModelFailing", "severity": "page", "model": "resnet", "server": "b"},
        "resnet fails elsewhere": {"alertname": "ModelFailing", "severity": "page", "model": "resnet", "server": "d"},
        "server of one of many down": {"alertname": "ServerDown", "severity": "page", "model": "many", "server": "b"},
        "one of many fails there": {"alertname": "ModelFailing", "severity": "page", "model": "many", "server": "b"},
        "one of many burns": {"alertname": "ErrorBudgetBurn", "severity": "page", "model": "many"},
        "server without model down": {"alertname": "ServerDown", "severity": "page", "server": "c"},
        "store fails": {"alertname": "StoreFailing", "severity": "page"},
        "gpu 0": {"alertname": "GpuXid", "severity": "ticket", "node": "n", "gpu": "0"},
        "gpu 1": {"alertname": "GpuXid", "severity": "ticket", "node": "n", "gpu": "1"},
    }
    alertmanager.post([{"labels": labels, "annotations": {"summary": name}} for name, labels in told.items()])
    alertmanager.until(lambda: len(kept_back(alertmanager)) == 4, "four alerts are kept back")
    follow = {"bert burns slowly", "resnet burns", "resnet fails there", "one of many fails there"}
    assert kept_back(alertmanager) == follow, "users of a model with other servers are to be served by those"

    alertmanager.until(lambda: sum(map(len, groups(alertmanager).values())) == len(told), "all alerts are in groups")
    grouped = groups(alertmanager)

    def of(receiver: str, **labels: str) -> set[str]:
        return grouped.pop((receiver, tuple(sorted(labels.items()))), set())

    assert of("vision/page", model="bert") == {"bert burns", "bert fails"}
    assert of("vision/ticket", model="bert") == {"bert burns slowly", "bert burns elsewhere", "bert is exhausted"}
    assert of("platform/page", model="resnet") == {"resnet burns", "resnet fails there", "resnet fails elsewhere"}
    assert of("platform/page", model="many") == {"one of many fails there", "one of many burns"}
    assert of("platform/page", alertname="ServerDown", server="b") == {
        "server of resnet down",
        "server of one of many down",
    }
    assert of("platform/page", alertname="ServerDown", server="c") == {"server without model down"}
    assert of("platform/page", alertname="StoreFailing") == {"store fails"}
    assert of("platform/ticket", alertname="GpuXid", node="n") == {"gpu 0", "gpu 1"}
    assert not grouped


def test_a_page_arrives_at_every_kind_of_receiver_with_the_secrets_of_files(
    alertmanager: RealAlertmanager, folder: Path
) -> None:
    secrets = {"pd": "pagerduty-key", "og": "opsgenie-key", "hook": "our-token"}
    receiver = WebhookReceiver()
    try:
        for name, secret in (*secrets.items(), ("slack", f"{receiver.url}slack")):
            (folder / name).write_text(secret, encoding="utf-8")
        configured = parse_settings(
            f"""{FLEET.replace(", team: vision", "")}
alerts:
  console_url: {receiver.url}
  hook_token_file: {folder}/hook
  escalation: all
  teams:
    - name: all
      page:
        - pagerduty: {{routing_key_file: {folder}/pd}}
        - opsgenie: {{api_key_file: {folder}/og, api_url: {receiver.url}}}
        - slack: {{api_url_file: {folder}/slack, channel: "#oncall"}}
""",
            {},
        )
        tree = yaml.safe_load(files(configured)[FILE].replace("group_wait: 30s", "group_wait: 0s"))
        (pagerduty,) = next(each for each in tree["receivers"] if each["name"] == "all/page")["pagerduty_configs"]
        pagerduty["url"] = f"{receiver.url}pagerduty"
        alertmanager.start(yaml.safe_dump(tree))
        labels = {"alertname": "ErrorBudgetBurn", "severity": "page", "model": "bert"}
        annotations = {"summary": "Model bert burns its budget", "runbook_url": "http://r/ErrorBudgetBurn.md"}
        alertmanager.post([{"labels": labels, "annotations": annotations}])
        until(lambda: len({post["path"] for post in receiver.posts}) == 4, "all four were told")
    finally:
        alertmanager.kill()
        receiver.close()
    told = {post["path"]: post for post in receiver.posts}
    assert told["/hooks/alertmanager"]["authorization"] == "Bearer our-token"
    assert told["/hooks/alertmanager"]["alerts"][0]["labels"] == labels
    page = told["/pagerduty"]
    assert (page["routing_key"], page["event_action"]) == ("pagerduty-key", "trigger")
    assert (page["payload"]["summary"], page["payload"]["severity"]) == (annotations["summary"], "critical")
    assert page["links"] == [{"href": annotations["runbook_url"], "text": "Runbook"}], "no empty link"
    assert "Runbook: http://r/ErrorBudgetBurn.md" in page["payload"]["custom_details"]["firing"]
    assert told["/v2/alerts"]["authorization"] == "GenieKey opsgenie-key"
    assert (told["/v2/alerts"]["message"], told["/v2/alerts"]["priority"]) == (annotations["summary"], "P1")
    (attachment,) = told["/slack"]["attachments"]
    assert (told["/slack"]["channel"], attachment["title"]) == ("#oncall", annotations["summary"])
