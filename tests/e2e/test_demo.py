"""The demo as a user starts it: the command, its output, its files, and what is left when it ends."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from controlplane.demo.day_plan import SHARED
from tests.e2e.plane import until

pytestmark = [pytest.mark.e2e, pytest.mark.triton]

COMMAND = (str(Path(sys.executable).with_name("controlplane")), "demo")


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def left_of(folder: Path) -> list[str]:
    """Command lines of processes that work on files of a run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(command.decode(errors="replace").replace("\0", " "))
    return found


@pytest.mark.usefixtures("rig_environment")
def test_a_whole_day_works_and_leaves_nothing_running(tmp_path: Path) -> None:
    out = tmp_path / "run"

    done = subprocess.run(
        [*COMMAND, "--duration", "120", "--json", "--out", str(out)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.stdout, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result["complaints"]) == (0, []), done.stderr
    assert result["failed"] == 0
    assert result["requests"] > 10_000
    assert result["requests_while_unloaded"] > 0
    assert 0 < result["wake_p95_s"] < 10
    assert result["actions"] <= result["decisions"]
    bert, resnet, deepfm = (
        result["models"][name] for name in ("bert_classifier", "resnet50_detector", "deepfm_recommender")
    )
    assert (bert["instances_min"], bert["unloads"]) == (1, 0)
    assert bert["instances_max"] >= 3
    assert 1 < resnet["instances_max"] < SHARED.instances_max
    assert deepfm["instances_min"] == 0
    assert (deepfm["loads"], deepfm["unloads"]) == (2, 1)
    page = Path(result["picture"]).read_text()
    assert page.count("<section>") == 3
    assert "The loop worked" in page
    assert left_of(out) == []


@pytest.mark.usefixtures("rig_environment")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_running(tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        [*COMMAND, "--out", str(out)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        console = next(line.split()[-1] for line in demo.stderr if line.startswith("the control plane's console: "))
        until("it is ready", lambda: status(f"{console}/readyz") == 200, 60)
        assert len(left_of(out)) >= 3  # the demo itself, Triton and the control plane

        demo.send_signal(how)

        demo.stderr.read()
        assert demo.wait(60) == 130
    assert left_of(out) == []


@pytest.mark.usefixtures("rig_environment")
def test_what_the_demo_started_ends_when_the_demo_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        [*COMMAND, "--out", str(out)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        assert any(line.startswith("the control plane's console: ") for line in demo.stderr)
        demo.kill()
    deadline_s = time.monotonic() + 60
    while left_of(out) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    assert left_of(out) == []


def test_a_day_that_is_too_short_is_refused_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--duration", "5", "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--duration: 5 is not allowed; 90 to 86400 seconds are allowed" in done.stderr
    assert not (tmp_path / "run").exists()
