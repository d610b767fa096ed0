import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.cli.main import execute
from controlplane.config import load_settings

DEPLOY = Path(__file__).parents[3] / "deploy"
CONFIG = DEPLOY / "compose" / "controlplane.yaml"


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return tree


def test_the_configuration_of_compose_passes_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the token file is made in the container's volume; everything else is checked as it stands
    tokens = tmp_path / "tokens"
    tokens.touch(mode=0o600)
    monkeypatch.setenv("CONTROLPLANE_API__TOKENS_FILE", str(tokens))
    assert execute(["check", str(CONFIG)]) == 0


def test_the_configuration_names_services_ports_and_paths_that_compose_has() -> None:
    services = compose()["services"]
    settings = load_settings(CONFIG, {})
    server = settings.fleet.servers[0]

    assert server.http == "http://triton:8000"
    assert server.grpc == "triton:8001"
    assert server.metrics == "http://triton:8002/metrics"
    assert "triton" in services
    assert services["controlplane"]["ports"][0].endswith(f":{settings.api.port}")
    mounts = [volume.split(":")[:2] for volume in services["controlplane"]["volumes"]]
    assert [str(Path("compose") / CONFIG.name), "/etc/controlplane/controlplane.yaml"] in [
        [source.removeprefix("./"), target] for source, target in mounts
    ]
    homes = [target for source, target in mounts if source in compose()["volumes"]]
    assert settings.store_url.startswith(f"sqlite:///{homes[0]}/")
    assert settings.api.tokens_file is not None
    assert str(settings.api.tokens_file.parent) == homes[0]


def test_triton_runs_in_explicit_mode_and_answers_raises_under_load() -> None:
    command = compose()["services"]["triton"]["command"]
    assert "--model-control-mode=explicit" in command
    assert "--rate-limit=execution_count" in command


def test_nothing_is_published_beyond_loopback() -> None:
    published = [port for service in compose()["services"].values() for port in service["ports"]]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_is_not_run_by_root_and_copies_only_what_it_was_given() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    final = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM")) :]
    copied = [
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    ]

    assert "USER 10001" in final
    assert copied
    for name in copied:
        assert (DEPLOY.parent / name).exists()
        assert f"!{name}" in ignored


def test_the_image_and_the_makefile_keep_urllib3_from_being_overwritten_by_a_fork_of_it() -> None:
    for file in (DEPLOY / "Dockerfile", DEPLOY.parent / "Makefile"):
        (install,) = re.findall(r"URLLIB3_NO_OVERRIDE=1 (\S+ [^@&]*grafana\S*)", file.read_text().replace("\\\n", ""))
        assert "install" in install
        assert "--no-binary urllib3-future" in install
