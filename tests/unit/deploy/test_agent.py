"""What starts the agent on GPU nodes names a command that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from controlplane.cli.main import app

ROOT = Path(__file__).parents[3]


def daemon_set(file: str) -> list[str]:
    pod = yaml.safe_load((ROOT / "deploy" / file).read_text())["spec"]["template"]
    arguments: list[str] = pod["spec"]["containers"][0]["args"]
    assert pod["spec"]["containers"][0]["ports"][0]["containerPort"] == int(arguments[-1])
    return arguments


def unit() -> list[str]:
    page = (ROOT / "docs/how-to/service.md").read_text()
    (arguments,) = re.findall(r"^ExecStart=\S+/controlplane (agent .*)$", page, re.MULTILINE)
    return str(arguments).split()


@pytest.mark.parametrize(
    "arguments",
    [daemon_set("agent-daemonset.yaml"), daemon_set("agent-mig-daemonset.yaml"), unit()],
    ids=["daemon set", "daemon set that cuts", "systemd unit"],
)
def test_the_command_is_understood(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    agent = command.commands[arguments[0]]
    assert agent.make_context("agent", arguments[1:]).params["port"] == 8901


def test_only_the_daemon_set_that_cuts_may_cut_and_keeps_its_journal_on_the_node() -> None:
    assert "--mig" not in daemon_set("agent-daemonset.yaml")
    cuts = yaml.safe_load((ROOT / "deploy/agent-mig-daemonset.yaml").read_text())["spec"]["template"]["spec"]
    arguments, mounts = daemon_set("agent-mig-daemonset.yaml"), cuts["containers"][0]["volumeMounts"]
    kept = {mount["mountPath"]: mount["name"] for mount in mounts}
    volumes = {volume["name"]: volume for volume in cuts["volumes"]}
    assert "hostPath" in volumes[kept[arguments[arguments.index("--journal") + 1]]]
    assert "secret" in volumes[kept[str(Path(arguments[arguments.index("--token-file") + 1]).parent)]]
    assert "controlplane/mig" in cuts["nodeSelector"]
