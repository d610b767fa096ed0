"""Prometheus, Alertmanager and Grafana beside the control plane: what the files name is there and fits together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from controlplane.config import load_settings
from controlplane.publish.dashboards import dashboards
from controlplane.publish.grafana.push import DATASOURCE_NAME, DATASOURCE_UID, FOLDER_UID

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
OWN = {"prometheus", "alertmanager", "grafana"}


def read(path: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text())
    return tree


SERVICES = read("compose.observe.yaml")["services"]


def plain(value: str) -> str:
    """With the defaults of variables; one without a default keeps its name."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", lambda m: m[2] or m[1], value)


def mounts(service: str) -> dict[str, str]:
    """What is mounted where, by the place inside."""
    parts = [plain(volume).split(":") for volume in SERVICES[service]["volumes"]]
    return {inside: source for source, inside, *_ in parts}


def inside(service: str, path: str) -> Path:
    """The file of the repository that a service finds at a path."""
    place = max((m for m in mounts(service) if path == m or path.startswith(f"{m}/")), key=len)
    return (DEPLOY / mounts(service)[place] / path[len(place) :].lstrip("/")).resolve()


def option(service: str, name: str) -> str:
    (found,) = [given.partition("=")[2] for given in SERVICES[service]["command"] if given.startswith(f"--{name}=")]
    return str(found)


def test_they_may_do_no_more_than_they_must_and_are_published_on_loopback_only() -> None:
    assert set(SERVICES) == OWN
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        written = {plain(volume).split(":")[0] for volume in service["volumes"] if not volume.endswith(":ro")}
        assert len(written) == 1
        assert written <= set(read("compose.observe.yaml")["volumes"])
        # a name with a dot or a port in front would be that of a registry
        assert re.fullmatch(r"\$\{\w+:-[a-z]+/[a-z]+:v?[\d.]+\}", service["image"]), name


def test_every_file_that_is_mounted_from_here_is_there() -> None:
    named = [source for name in SERVICES for source in mounts(name).values() if source.startswith(".")]
    assert len(named) == 6
    for source in named:
        assert (DEPLOY / source).exists(), source
    assert read("compose.observe.yaml")["secrets"].keys() == set(SERVICES["grafana"]["secrets"])
    secret = SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert Path(secret).name in SERVICES["grafana"]["secrets"]


def test_prometheus_takes_its_configuration_and_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool; install the Debian package prometheus")
    for place in mounts("prometheus"):
        if place.startswith("/etc/prometheus/"):
            copy = tmp_path / place.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(inside("prometheus", place), copy)
    config = tmp_path / option("prometheus", "config.file").lstrip("/")
    ran = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("rules found") == 2


def test_prometheus_scrapes_the_ports_of_the_others_and_tells_the_alertmanager() -> None:
    tree = read("prometheus.yml")
    targets = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in tree["scrape_configs"]}
    settings = load_settings(DEPLOY / "compose" / "controlplane.yaml", {})
    triton = settings.fleet.servers[0]
    assert targets["controlplane"] == f"controlplane:{settings.api.port}"
    assert targets["triton"] == urlsplit(triton.metrics).netloc
    (alertmanager,) = tree["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    name, port = alertmanager.split(":")
    assert plain(SERVICES[name]["ports"][0]).endswith(f":{port}")


def test_alertmanager_finds_its_configuration_and_the_secrets_that_it_names() -> None:
    config = inside("alertmanager", option("alertmanager", "config.file"))
    files = re.findall(r"_file: (\S+)", config.read_text())
    assert config == ROOT / "alerts" / "alertmanager.yml"
    assert files
    assert {str(Path(file).parent) for file in files} <= set(mounts("alertmanager"))


def test_grafana_is_given_the_data_source_and_the_dashboards_that_push_would_write() -> None:
    place = "grafana/provisioning"
    assert inside("grafana", "/etc/grafana/provisioning") == DEPLOY / place
    (source,) = read(f"{place}/datasources/controlplane.yaml")["datasources"]
    assert (source["uid"], source["name"], source["type"]) == (DATASOURCE_UID, DATASOURCE_NAME, "prometheus")
    url = urlsplit(source["url"])
    assert plain(SERVICES[str(url.hostname)]["ports"][0]).endswith(f":{url.port}")

    (provider,) = read(f"{place}/dashboards/controlplane.yaml")["providers"]
    assert (provider["folderUid"], provider["type"]) == (FOLDER_UID, "file")
    folder = inside("grafana", provider["options"]["path"])
    written = {json.loads(file.read_text())["uid"] for file in folder.glob("*.json")}
    assert written == {dashboard["uid"] for dashboard in dashboards()}


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_provisioning_is_of_the_version_that_grafana_reads(kind: str) -> None:
    files = list((DEPLOY / "grafana" / "provisioning" / kind).iterdir())
    assert [file.suffix for file in files] == [".yaml"]
    assert yaml.safe_load(files[0].read_text())["apiVersion"] == 1
