"""Two replicas: what starts them names a command that there is, and both are reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
import yaml

from controlplane.cli.main import app
from controlplane.config.settings import ApiSettings

ROOT = Path(__file__).parents[3]


def test_the_command_is_understood_and_ports_labels_and_names_agree() -> None:
    file = (ROOT / "deploy/kubernetes/replicas.yaml").read_text()
    deployment, service, budget = yaml.safe_load_all(file)
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    command: Any = typer.main.get_command(app)
    run, *options = container["args"]
    assert command.commands[run].make_context(run, options).params["config"]
    labels = pod["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"]
    assert container["ports"][0]["containerPort"] == ApiSettings().port == service["spec"]["ports"][0]["port"]
    assert deployment["spec"]["replicas"] > budget["spec"]["minAvailable"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
