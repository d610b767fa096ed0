from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from controlplane.demo.models_repo import write_repository
from controlplane.demo.rig import TritonRig
from controlplane.demo.rig_setup import RigEnvironment
from tests.alertmanager_fixtures import RealAlertmanager, alertmanager_binary
from tests.e2e.incident.gateway import Gateway
from tests.e2e.incident.growing import Growing, grown
from tests.e2e.incident.incident import USUAL_PER_S, WAYS, Incident
from tests.e2e.incident.model import write_model
from tests.e2e.incident.settings import SCALED, SLOW, alerts, tree, written
from tests.e2e.plane import Plane
from tests.nvml_shim import drive
from tests.page_server import pages_served
from tests.prometheus_fixtures import RealPrometheus, free_port, prometheus_binary
from tests.unit.collect.pages import recorded
from tests.webhook_receiver import WebhookReceiver

__all__ = ["alertmanager_binary", "prometheus_binary"]

VLLM_PAGE = "vllm-0.32.0-under-load.txt"


@pytest.fixture(scope="package")
def incident(rig_environment: RigEnvironment, prometheus_binary: str, alertmanager_binary: str) -> Iterator[Incident]:
    """It has happened; its parts run until the last test of this folder."""
    home = Path(tempfile.mkdtemp(prefix="cp-incident-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        made = _parts(stack, home, rig_environment, prometheus_binary, alertmanager_binary)
        made.play()
        yield made


def _parts(stack: ExitStack, home: Path, environment: RigEnvironment, prometheus: str, alertmanager: str) -> Incident:
    slow = home / "slow"
    rig = _triton(stack, home, environment, slow)
    gateways = {model: Gateway(rig.grpc_url, model, USUAL_PER_S) for model in SLOW}
    scraper = RealPrometheus(prometheus, _folder(home / "prometheus"))
    stack.callback(scraper.kill)
    receiver = WebhookReceiver()
    stack.callback(receiver.close)
    vllm = _vllm(stack)
    _gpus(stack, home)

    scraper.start()
    planes = {}
    jobs = {"vllm": [vllm], "triton": [f"127.0.0.1:{rig.ports.metrics}"]}
    for way in WAYS:
        told = RealAlertmanager(alertmanager, _folder(home / f"alertmanager-{way}"))
        stack.callback(told.kill)
        plane = planes[way] = Plane(home / way, {})
        stack.callback(plane.kill)
        port = free_port()
        own: dict[str, Any] = {"api": {"port": port}}
        own["alerts"] = alerts(way, receiver.url, console_url=f"http://127.0.0.1:{port}")
        if way == "direct":
            own["alerts"] |= {"via": "direct", "alertmanagers": [told.url]}
            own["mode"] = "observe"
        plane.configure(tree(rig, gateways.values(), scraper.url) | own)
        rules = written(plane)
        told.start((rules / "alertmanager.yml").read_text(encoding="utf-8"))
        if way == "prometheus":
            scraper.alert([rules / "rules.yml", rules / "alerts.yml"], f"127.0.0.1:{told.port}")
            jobs["controlplane"] = [f"127.0.0.1:{port}"]
    with ThreadPoolExecutor() as pool:
        scraping = pool.submit(scraper.scrape, jobs)
        for plane in planes.values():
            plane.start()  # not in the pool: a control plane ends with the thread that started it
        scraping.result()
    # what loads first is not what the incident is about
    for model in (*SLOW, SCALED):
        planes["prometheus"].until_instances(model, 1)
    load = Gateway(rig.grpc_url, SCALED, USUAL_PER_S)
    for gateway in (*gateways.values(), load):
        stack.callback(gateway.end)
    return Incident(rig, scraper, planes, receiver, gateways, load, slow)


def _triton(stack: ExitStack, home: Path, environment: RigEnvironment, slow: Path) -> TritonRig:
    repository = write_repository(home / "models", home / "gpu", [SCALED])
    for name in SLOW:
        write_model(repository, name, slow)
    summaries = ["--metrics-config=summary_latencies=true"]
    rig = TritonRig(repository, environment=environment, log_path=home / "triton.log", extra_args=summaries)
    stack.callback(rig.kill)
    rig.start()
    return rig


def _vllm(stack: ExitStack) -> str:
    """Host and port of a page that vLLM told once, at work."""
    pages, page = stack.enter_context(pages_served()), recorded(VLLM_PAGE)

    def write(factor: int) -> None:
        pages.by_path["/metrics"] = grown(page, factor)

    stack.callback(Growing(write).end)
    return pages.address


def _gpus(stack: ExitStack, home: Path) -> None:
    """Two GPUs of this machine, the second one cut; on the first one a process that listens where the vLLM does."""
    file = home / "gpus"
    second = {f"{key.replace('.0', '.1', 1)}": value for key, value in drive.HOPPER_CUT.items() if "." in key}
    here = {"count": "2", "uuid.1": "GPU-bbbb", "procs.0": f"{os.getpid()}:1048576"}
    answers = drive.HOPPER | second | here

    def write(factor: int) -> None:
        at_work = {key: _times(value, factor) for key, value in answers.items() if key.startswith("gpm.")}
        drive.answer(file, answers | at_work)

    stack.callback(Growing(write).end)
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("LD_LIBRARY_PATH", str(drive.build(home)))
    patch.setenv("NVML_SHIM", str(file))


def _times(counters: str, factor: int) -> str:
    return " ".join(str(int(count) * factor) for count in counters.split())


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
