"""The example of a command for copies: what it asks of Docker, by a `docker` that writes down what it is asked."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "copies" / "docker.sh"
DOCKER = """#!/bin/sh
echo "$@" >> "$ASKED"
[ -z "${AWAY:-}" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
case "$1" in ps) cat "$RUNNING.$(echo "$*" | grep -c controlplane.port)" 2>/dev/null || true ;; esac
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    (tmp_path / "small.env").write_text(
        'IMAGE=vllm/vllm-openai:v0.11.0\nARGS="--model small --port PORT"\nDRAIN_S=45\n'
    )
    return tmp_path


def run(site: Path, *arguments: str, away: str = "", timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
    path = f"{site}:{os.environ['PATH']}"
    env = {"PATH": path, "MODELS": str(site), "ASKED": str(site / "asked"), "RUNNING": str(site / "running")}
    env |= {"AWAY": away, "LOCK": str(site / "lock")}
    return subprocess.run(
        [str(SCRIPT), *arguments], env=env, capture_output=True, text=True, check=False, timeout=timeout_s
    )


def asked(site: Path, verb: str) -> list[str]:
    lines = (site / "asked").read_text().splitlines()
    return [line for line in lines if line.startswith(f"{verb} ")]


def test_a_copy_is_started_on_its_slice_and_on_a_free_port(site: Path) -> None:
    (site / "running.1").write_text("9000\n9001\n")
    assert run(site, "start", "small", "MIG-1").returncode == 0
    (started,) = asked(site, "run")
    for words in (
        "--name controlplane-MIG-1-small",
        "-e NVIDIA_VISIBLE_DEVICES=MIG-1 -e CUDA_VISIBLE_DEVICES=0",
        "vllm/vllm-openai:v0.11.0 --model small --port 9002",
    ):
        assert words in started


def test_a_copy_that_runs_is_not_started_again(site: Path) -> None:
    (site / "running.0").write_text("controlplane-MIG-1-small\n")
    assert run(site, "start", "small", "MIG-1").returncode == 0
    assert asked(site, "run") == []


def test_a_copy_is_given_time_to_end_what_it_has(site: Path) -> None:
    assert run(site, "drain", "small", "MIG-1").returncode == 0
    assert asked(site, "stop") == ["stop -t 45 controlplane-MIG-1-small"]
    (site / "running.0").write_text("controlplane-MIG-1-small\n")
    assert run(site, "drain", "small", "MIG-1").returncode == 1, "it runs still"


def test_a_model_of_which_nothing_is_known_is_told(site: Path) -> None:
    told = run(site, "start", "large", "MIG-1")
    assert (told.returncode, told.stdout) == (2, f"no file {site}/large.env\n")


@pytest.mark.parametrize("act", ["start", "drain"])
def test_a_docker_that_does_not_answer_is_a_failure(site: Path, act: str) -> None:
    told = run(site, act, "small", "MIG-1", away="yes")
    assert told.returncode == 1
    assert "Cannot connect" in told.stderr


def test_a_copy_of_another_model_on_the_slice_is_left_alone(site: Path) -> None:
    (site / "other.env").write_text("IMAGE=triton\n")
    assert run(site, "start", "other", "MIG-1").returncode == 0
    assert run(site, "drain", "other", "MIG-1").returncode == 0
    removed = {line.split()[-1] for line in (*asked(site, "rm"), *asked(site, "stop"))}
    assert removed == {"controlplane-MIG-1-other"}


def test_a_port_is_chosen_by_one_at_a_time(site: Path) -> None:
    """While another start holds the lock, none looks for a port."""
    with (site / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(subprocess.TimeoutExpired):
            run(site, "start", "small", "MIG-1", timeout_s=0.5)
        assert asked(site, "run") == []
