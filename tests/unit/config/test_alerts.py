import pytest

from controlplane.config import Settings, parse_settings
from controlplane.domain.alerts import Severity
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.instructions import FreezeDirection
from controlplane.domain.routing import (
    AlertSettings,
    FreezeRule,
    MailServer,
    MuteTime,
    Prices,
    Receiver,
    ReceiverKind,
    Via,
)

FLEET = """
servers:
  - {name: t0, kind: triton, http: "http://h:8000/", grpc: "h:8001", metrics: "http://h:8002/metrics"}
models:
  - {name: bert, runs_on: t0, team: vision}
  - {name: resnet, runs_on: t0}
"""
TEAMS = """
  escalation: platform
  teams:
    - {name: platform, page: [{pagerduty: {routing_key_file: /k}}]}
    - {name: vision, page: [{webhook: "http://hook/"}]}
"""
FULL = """
alerts:
  via: direct
  alertmanagers: ["http://127.0.0.1:9093/"]
  runbooks_url: https://docs.example.org/runbooks
  dashboards_url: https://grafana.example.org/
  console_url: http://controlplane:8900
  hook_token_file: /etc/alertmanager/hook
  escalation: platform
  watchdog: {webhook: "https://snitch.example.org/1", token_file: /etc/alertmanager/snitch}
  mail: {smarthost: "smtp:587", from: a@example.org, username: a, password_file: /etc/alertmanager/mail}
  teams:
    - name: platform
      page: [{pagerduty: {routing_key_file: /pd}}, {opsgenie: {api_key_file: /og}}]
      ticket: [{slack: {api_url_file: /slack, channel: "#ml"}}]
      info: [{email: ml@example.org}]
    - name: vision
      page: [{opsgenie: {api_key_file: /og, api_url: "https://api.eu.opsgenie.com/"}}]
      mutes:
        - {severities: [ticket], days: [saturday, sunday]}
        - {severities: [ticket, info], since: "22:00", until: "06:00", location: Europe/Berlin}
  freezes:
    - {alert: {alertname: DatacenterMaintenance}, direction: no_down, for: 2h}
    - {alert: {alertname: Ours}}
grafana: {url: "https://grafana.example.org/", token_file: /t, prometheus_url: "http://prometheus:9090"}
cost: {currency: EUR, gpu_hour: 2.5, gpu_hours: {NVIDIA H100 80GB HBM3: 4.1}}
"""


def parse(alerts: str, **env: str) -> Settings:
    return parse_settings(FLEET + alerts, env)


def faults(alerts: str, **env: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(alerts, **env)
    return {fault.path: f"{fault.value} | {fault.allowed}" for fault in caught.value.faults}


def test_without_a_block_nobody_is_told_and_nothing_has_a_price() -> None:
    settings = parse_settings(FLEET.replace(", team: vision", ""), {})
    assert settings.alerts == AlertSettings()
    assert (settings.grafana, settings.prices) == (None, Prices())
    assert [model.team for model in settings.fleet.models] == ["", ""]


def test_every_key_arrives() -> None:
    settings = parse(FULL)
    alerts = settings.alerts
    assert (alerts.via, alerts.alertmanagers) == (Via.DIRECT, ("http://127.0.0.1:9093",))
    assert (alerts.runbooks_url, alerts.dashboards_url) == (
        "https://docs.example.org/runbooks",
        "https://grafana.example.org",
    )
    assert (alerts.console_url, alerts.hook_token_file) == ("http://controlplane:8900", "/etc/alertmanager/hook")
    assert alerts.escalation == "platform"
    assert alerts.watchdog == Receiver(ReceiverKind.WEBHOOK, "/etc/alertmanager/snitch", "https://snitch.example.org/1")
    assert alerts.mail == MailServer("smtp:587", "a@example.org", "a", "/etc/alertmanager/mail")
    platform, vision = alerts.teams
    assert platform.receivers == {
        Severity.PAGE: (Receiver(ReceiverKind.PAGERDUTY, "/pd"), Receiver(ReceiverKind.OPSGENIE, "/og")),
        Severity.TICKET: (Receiver(ReceiverKind.SLACK, "/slack", "#ml"),),
        Severity.INFO: (Receiver(ReceiverKind.EMAIL, to="ml@example.org"),),
    }
    assert vision.mutes == (
        MuteTime((Severity.TICKET,), ("saturday", "sunday")),
        MuteTime((Severity.TICKET, Severity.INFO), (), "22:00", "06:00", "Europe/Berlin"),
    )
    assert alerts.freezes == (
        FreezeRule({"alertname": "DatacenterMaintenance"}, FreezeDirection.NO_DOWN, 7200.0),
        FreezeRule({"alertname": "Ours"}, FreezeDirection.ALL, 1800.0),
    )
    assert settings.prices == Prices("EUR", 2.5, {"NVIDIA H100 80GB HBM3": 4.1})
    grafana = settings.grafana
    assert grafana is not None
    assert (grafana.url, str(grafana.token_file), grafana.prometheus_url, grafana.folder) == (
        "https://grafana.example.org",
        "/t",
        "http://prometheus:9090",
        "controlplane",
    )
    assert [model.team for model in settings.fleet.models] == ["vision", ""]


def test_a_severity_without_receivers_goes_where_the_next_more_urgent_one_goes() -> None:
    platform, vision = parse(FULL).alerts.teams
    assert [platform.told(severity)[0].kind.value for severity in Severity] == ["pagerduty", "slack", "email"]
    assert {vision.told(severity) for severity in Severity} == {
        (Receiver(ReceiverKind.OPSGENIE, "/og", "https://api.eu.opsgenie.com"),)
    }


def test_the_environment_overrides_single_keys() -> None:
    variables = {"CONTROLPLANE_ALERTS__ESCALATION": "vision", "CONTROLPLANE_COST__GPU_HOUR": "3.25"}
    settings = parse(FULL, **variables)
    assert (settings.alerts.escalation, settings.prices.gpu_hour) == ("vision", 3.25)
    found = faults(FULL, CONTROLPLANE_ALERTS__ESCALATION="visions")
    assert found == {
        "alerts.escalation (from CONTROLPLANE_ALERTS__ESCALATION)": "'visions' | the name of an entry in alerts.teams:"
        " did you mean 'vision'? one of: platform, vision"
    }


def test_all_faults_are_told_at_once_and_no_secret_with_them() -> None:
    found = faults("""
alerts:
  via: prometheus
  alertmanagers: ["http://127.0.0.1:9093"]
  escalation: plattform
  hook_token: s3cret
  mail: {smarthost: smtp, from: nobody, username: a, password: s3cret}
  watchdog: {}
  teams:
    - {name: platform, page: [{pagerduty: {routing_key: s3cret}}]}
    - name: vision
      page: [{slack: {api_url: "https://hooks.slack.com/s3cret", channel: "#a"}}, {webhook: "http://a:s3cret@b"}]
      mutes: [{severities: [tickets], days: [caturday], since: 22:00, location: Mars/Base}]
    - {name: vision, page: []}
    - {name: plain, page: [{email: a@b, webhook: "http://h"}], ticket: [{email: a@b, token_file: /t}], mutes: [{}]}
  freezes: [{alert: {}, direction: up, for: 30}, {alert: {bad-label: x}}]
grafana: {url: grafana, token: s3cret}
cost: {gpu_hour: -1, gpu_hours: {A100: .nan}}
""")
    assert "s3cret" not in str(found)
    secret = "{}: no secret in the file, but the path of one that holds it"
    assert found["alerts.hook_token"].endswith(secret.format("hook_token_file"))
    assert found["alerts.mail.password"].endswith(secret.format("password_file"))
    assert found["alerts.teams[0].page[0].pagerduty.routing_key"].endswith(secret.format("routing_key_file"))
    assert found["alerts.teams[1].page[0].slack.api_url"].endswith(secret.format("api_url_file"))
    assert found["grafana.token"].endswith(secret.format("token_file"))
    assert "without credentials" in found["alerts.teams[1].page[1].webhook"]
    assert "did you mean 'platform'" in found["alerts.escalation"]
    assert (
        found["alerts.teams[1].mutes[0].severities[0]"]
        == "'tickets' | did you mean 'ticket'? one of: page, ticket, info"
    )
    assert "did you mean 'saturday'" in found["alerts.teams[1].mutes[0].days[0]"]
    assert found["alerts.teams[1].mutes[0].since"] == "1320 | a time of day in quotes, '00:00' to '24:00'"
    assert "IANA" in found["alerts.teams[1].mutes[0].location"]
    assert found["alerts.teams[2].page"] == "an empty list | at least one entry"
    assert found["alerts.teams[3].mutes[0].severities"] == "nothing | it is required"
    assert found["alerts.freezes[0].alert"] == "a mapping | at least one entry"
    assert "no_down" in found["alerts.freezes[0].direction"]
    assert "duration" in found["alerts.freezes[0].for"]
    assert found["alerts.freezes[1].alert.bad-label"].startswith("'bad-label' | the name of a label")
    assert {"grafana.url", "grafana.prometheus_url", "cost.gpu_hour", "cost.gpu_hours.A100"} <= found.keys()
    assert {"alerts.mail.smarthost", "alerts.mail.from", "alerts.alertmanagers", "alerts.watchdog"} <= found.keys()
    assert "models[0].team" not in found, "a team with a fault is no unknown team"


@pytest.mark.parametrize(
    ("alerts", "path", "said"),
    [
        ("alerts: {via: direct}", "alerts.alertmanagers", "nothing | at least one"),
        ("alerts: {hook_token_file: /t}", "alerts.hook_token_file", "only with alerts.console_url"),
        ("alerts: {watchdog: {email: a@b}}", "alerts.mail", "required for alerts.watchdog.email"),
        (
            "alerts: {watchdog: {slack: {api_url_file: /u, channel: c}, token_file: /t}}",
            "alerts.watchdog.token_file",
            "web",
        ),
        ("alerts: {mail: {smarthost: 's:25', from: a@b, username: a}}", "alerts.mail.password_file", "with username"),
        ("alerts: {teams: [{name: vision, page: [{webhook: 'http://h'}]}]}", "alerts.escalation", "one of: vision"),
        ("", "models[0].team", "'vision' | the name of an entry in alerts.teams: there is none to name"),
        (
            "alerts: {console_url: 'http://c:8900'}\napi: {tokens_file: /tokens}",
            "alerts.hook_token_file",
            "required with alerts.console_url and api.tokens_file",
        ),
    ],
)
def test_what_belongs_together_is_asked_for(alerts: str, path: str, said: str) -> None:
    assert said in faults(alerts)[path]


@pytest.mark.parametrize(
    ("alerts", "path"),
    [
        ("runbooks_url: 'https://docs/{{ .Labels.x }}'", "alerts.runbooks_url"),
        ("dashboards_url: 'https://g/}}'", "alerts.dashboards_url"),
        ("console_url: 'https://c/{{'", "alerts.console_url"),
        ("watchdog: {webhook: 'https://h/{{'}", "alerts.watchdog.webhook"),
        ("watchdog: {slack: {api_url_file: /u, channel: '#{{x}}'}}", "alerts.watchdog.slack.channel"),
        ("watchdog: {email: '{{x}}@example.org'}", "alerts.watchdog.email"),
    ],
)
def test_what_would_be_a_template_is_refused(alerts: str, path: str) -> None:
    assert "without {{ and }}" in faults(f"alerts: {{{alerts}}}")[path]


@pytest.mark.parametrize("url", ["ftp://docs", "javascript:alert(1)", "file:///docs", "docs"])
def test_only_http_urls_are_links(url: str) -> None:
    for key in ("runbooks_url", "dashboards_url", "console_url"):
        assert "http(s)://" in faults(f"alerts: {{{key}: '{url}'}}")[f"alerts.{key}"]


@pytest.mark.parametrize(
    ("cost", "path", "told"),
    [
        ("gpu_hour: true", "cost.gpu_hour", "true | a number of 0 or more, such as 2.5"),
        ("gpu_hour: '4,1'", "cost.gpu_hour", "'4,1' | a number of 0 or more, such as 2.5"),
        ("gpu_hour: .inf", "cost.gpu_hour", "inf | a number of 0 or more, such as 2.5"),
        ("gpu_hours: {A100: no}", "cost.gpu_hours.A100", "false | a number of 0 or more, such as 2.5"),
        ("gpu_hours: {' ': 1}", "cost.gpu_hours. ", "' ' | the name of a GPU, such as NVIDIA H100 80GB HBM3"),
        ("currency: no", "cost.currency", "false | 1 to 8 letters, such as EUR"),
        ("currency: ''", "cost.currency", "'' | 1 to 8 letters, such as EUR"),
        ("currency: credits-per-h", "cost.currency", "'credits-per-h' | 1 to 8 letters, such as EUR"),
    ],
)
def test_prices_are_numbers_of_named_gpus_in_a_named_currency(cost: str, path: str, told: str) -> None:
    assert faults(f"cost: {{{cost}}}")[path] == told


def test_a_team_with_its_name_twice_is_a_fault() -> None:
    doubled = "alerts:" + TEAMS + "    - {name: vision, page: [{webhook: 'http://h'}]}\n"
    assert faults(doubled) == {
        "alerts.teams[2].name": "'vision' | a name that is unique among teams; alerts.teams[1] has it already"
    }


@pytest.mark.parametrize(
    ("mute", "path"),
    [
        ("{severities: [info], since: '24:00'}", "since"),
        ("{severities: [info], since: '06:00', until: '06:00'}", "until"),
        ("{severities: [info], until: '24:01'}", "until"),
    ],
)
def test_a_mute_time_without_length_is_a_fault(mute: str, path: str) -> None:
    found = faults("alerts:" + TEAMS.replace('hook/"}]', f'hook/"}}], mutes: [{mute}]'))
    assert list(found) == [f"alerts.teams[1].mutes[0].{path}"]
