"""Alerts told to a real Alertmanager, and taken back from it by the real API."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.api.tokens import Scope, create_token
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.routing import AlertSettings
from controlplane.loop.notices import KEEPS_S, Notifier
from controlplane.publish.alerting.alertmanager import Alert, Alertmanager
from controlplane.publish.alerting.catalogue import BY_NAME, CATALOGUE
from controlplane.publish.alerting.notices import notices
from tests.alertmanager_fixtures import RealAlertmanager
from tests.unit.loop.worlds import FLEET, a_reading
from tests.webhook_receiver import WebhookReceiver, until

CONFIG = """
route: {receiver: test, group_by: [alertname, model], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: test, webhook_configs: [{url: "%s", send_resolved: true%s}]}]
"""
WRONG = Condition(AlertName.GPU_XID, node="node-1", gpu="0", cause="79", detail="fell off the bus")
"""Its alert fires at once."""


class World:
    """A picture that the test changes, told by a real notifier in real time, or `behind_s` before."""

    def __init__(self, *urls: str) -> None:
        self.conditions: tuple[Condition, ...] = ()
        self.behind_s = 0.0
        made = [Alertmanager(url) for url in urls]
        self.notifier = Notifier(self.picture, made, AlertSettings(), self.clock)

    def clock(self) -> float:
        return time.time() - self.behind_s  # noqa: TID251 - as its Alertmanager

    def picture(self) -> Picture:
        return Picture(self.clock(), FLEET, a_reading(), health=LoopHealth(leading=True), conditions=self.conditions)


def names(alertmanager: RealAlertmanager) -> list[str]:
    return sorted(alert["labels"]["alertname"] for alert in alertmanager.get("alerts"))


async def test_alerts_come_once_are_told_again_end_and_outlive_alertmanager(
    alertmanager: RealAlertmanager, receiver: WebhookReceiver
) -> None:
    config = CONFIG % (receiver.url, "")
    alertmanager.start(config)
    dead = f"http://127.0.0.1:{free_port()}"
    world = World(alertmanager.url, dead)
    world.conditions, world.behind_s = (WRONG,), KEEPS_S
    for _ in range(3):
        await world.notifier.tell()
    assert names(alertmanager) == ["GpuXid", "Watchdog"]
    await asyncio.to_thread(until, lambda: receiver.alerts("firing", alertname="GpuXid"), "it is told")
    (alert,) = receiver.alerts("firing", alertname="GpuXid")
    assert alert["labels"] == {"alertname": "GpuXid", "severity": "ticket", "node": "node-1", "gpu": "0", "cause": "79"}
    assert "fell off the bus" in alert["annotations"]["description"]
    assert world.notifier.posts == {"ok": 3, "failed": 3}, "one that is away keeps nobody from telling the other"

    alertmanager.kill()
    await world.notifier.tell()
    assert world.notifier.posts == {"ok": 3, "failed": 5}
    alertmanager.start(config)
    assert names(alertmanager) == [], "it keeps no alerts"
    await world.notifier.tell()
    assert names(alertmanager) == ["GpuXid", "Watchdog"]

    world.conditions = ()
    await world.notifier.tell()
    assert names(alertmanager) == ["GpuXid", "Watchdog"], "it may come back at once"
    world.behind_s = 0.0
    await world.notifier.tell()
    await asyncio.to_thread(until, lambda: receiver.alerts("resolved", alertname="GpuXid"), "its end is told")
    assert names(alertmanager) == ["Watchdog"]
    await world.notifier.close()


async def test_a_dead_control_planes_alerts_end_by_themselves(alertmanager: RealAlertmanager) -> None:
    alertmanager.start(CONFIG % ("http://127.0.0.1:9/", ""))
    client, now = Alertmanager(alertmanager.url), time.time()  # noqa: TID251
    await client.post([Alert({"alertname": name}, {}, now - 60, now + s) for name, s in (("X", 1.0), ("Y", 600.0))])
    await asyncio.to_thread(until, lambda: names(alertmanager) == ["Y"], "one ended")
    await client.close()


async def test_alertmanager_takes_every_alert_whatever_names_hold(alertmanager: RealAlertmanager) -> None:
    alertmanager.start(CONFIG % ("http://127.0.0.1:9/", ""))
    odd = 'a "b"\n{{ $x }} ü \udc80 \x00'
    anything = {field.name: odd for field in fields(Condition) if field.name != "alert"}
    conditions = tuple(Condition(text.alert, **anything) for text in CATALOGUE)
    world = World(alertmanager.url)
    found = notices(replace(world.picture(), conditions=conditions), {}, AlertSettings(runbooks_url="http://r"))
    assert {notice.name for notice in found} == {name.value for name in BY_NAME}
    now = time.time()  # noqa: TID251
    client = Alertmanager(alertmanager.url)
    await client.post([Alert(dict(n.labels), n.annotations, now, now + 60) for n in found])
    assert len(names(alertmanager)) == len(found)
    await client.close()


async def test_one_that_refuses_and_one_that_hangs_are_told_apart(alertmanager: RealAlertmanager) -> None:
    alertmanager.start(CONFIG % ("http://127.0.0.1:9/", ""))
    client = Alertmanager(alertmanager.url)
    with pytest.raises(TargetUnreachableError, match=r"answered HTTP 400: .*invalid label"):
        await client.post([Alert({"not a name": "x"}, {}, 0.0, 1.0)])
    await client.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections and never answers
        hanging = Alertmanager(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(TargetUnreachableError, match=r"no answer within 0\.2 s"):
            await hanging.post([])
        await hanging.close()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts `controlplane run` with a configuration."""
    running: list[subprocess.Popen[bytes]] = []

    def start(configuration: str) -> str:
        (tmp_path / "controlplane.yaml").write_text(configuration, encoding="utf-8")
        command = [sys.executable, "-c", "from controlplane.cli.entry import main; main()", "run"]
        log = (tmp_path / "log").open("wb")
        with log:
            running.append(subprocess.Popen(command, cwd=tmp_path, env=os.environ, stdout=log, stderr=log))
        return str(tmp_path / "log")

    yield start
    for one in running:
        one.kill()
        one.wait()


def test_what_it_tells_comes_back_to_the_api_and_freezes_by_rule(
    alertmanager: RealAlertmanager, process: Callable[[str], str], tmp_path: Path
) -> None:
    tokens, port = tmp_path / "tokens", free_port()
    (tmp_path / "token").write_text(create_token(tokens, "alertmanager", Scope.OPERATOR, None), encoding="utf-8")
    token = (tmp_path / "token").read_text()
    back = f'http_config: {{authorization: {{credentials_file: "{tmp_path / "token"}"}}}}'
    alertmanager.start(CONFIG % (f"http://127.0.0.1:{port}/hooks/alertmanager", f", {back}"))
    log = process(f"""
scrape: {{interval: 500ms, timeout: 200ms}}
decide: {{interval: 1s}}
api: {{port: {port}, tokens_file: {tokens}}}
servers: [{{name: t0, kind: triton, http: "http://127.0.0.1:9", grpc: "127.0.0.1:9", metrics: "http://127.0.0.1:9/m"}}]
models: [{{name: bert, runs_on: [t0], instances: {{min: 1, max: 8}}}}]
alerts:
  via: direct
  alertmanagers: ["{alertmanager.url}"]
  freezes: [{{alert: {{alertname: Watchdog}}, direction: no_down, for: 10m}}]
""")

    def ask(path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return []

    until(lambda: ask("/api/v1/freezes"), f"the alert froze scaling; the log is {log}", 40.0)
    (freeze,) = ask("/api/v1/freezes")
    assert (freeze["model"], freeze["direction"], freeze["actor"]) == ("", "no_down", "alertmanager")
    assert freeze["reason"] == "alert Watchdog fires: Alerting works"
    (received,) = (a for a in ask("/api/v1/alerts?firing=true")["received"] if a["name"] == "Watchdog")
    assert (received["severity"], received["firing"]) == ("info", True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
