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


def daemon_set() -> list[str]:
    pod = yaml.safe_load((ROOT / "deploy/agent-daemonset.yaml").read_text())["spec"]["template"]
    arguments: list[str] = pod["spec"]["containers"][0]["args"]
    assert pod["spec"]["containers"][0]["ports"][0]["containerPort"] == int(arguments[-1])
    return arguments


def unit() -> list[str]:
    page = (ROOT / "docs/how-to/service.md").read_text()
    (arguments,) = re.findall(r"^ExecStart=\S+/controlplane (agent .*)$", page, re.MULTILINE)
    return str(arguments).split()


@pytest.mark.parametrize("arguments", [daemon_set(), unit()], ids=["daemon set", "systemd unit"])
def test_the_command_is_understood(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    agent = command.commands[arguments[0]]
    assert agent.make_context("agent", arguments[1:]).params["port"] == 8901
