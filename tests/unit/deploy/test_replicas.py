"""Two replicas: what starts them names a command that there is, and both are reached."""

from __future__ import annotations

import re
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


def test_the_user_of_the_image_may_read_the_secrets_that_the_configuration_names() -> None:
    file = (ROOT / "deploy/kubernetes/replicas.yaml").read_text()
    pod = next(yaml.safe_load_all(file))["spec"]["template"]["spec"]
    (user,) = re.findall(r"^USER (\d+)$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    (secrets,) = (volume["secret"] for volume in pod["volumes"] if "secret" in volume)
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == int(user)
    assert secrets["defaultMode"] & 0o040, "by its group, which fsGroup makes theirs: the files themselves are root's"
    (mount,) = (m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == "secrets")
    told = yaml.safe_load(
        "\n".join(
            line.removeprefix("#   ") for line in file.splitlines() if line.startswith("#   ") and "kubectl" not in line
        )
    )
    assert told["api"]["host"] == "0.0.0.0", "the probes come to the address of the pod"
    assert {Path(told["store_password_file"]).parent, Path(told["api"]["tokens_file"]).parent} == {Path(mount)}
