"""`/mig` of the agent over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.cli.main import execute
from controlplane.decide.mig import Slice
from tests.integration.test_agent import HAS_DRIVER, agent
from tests.nvml_shim.drive import build
from tests.nvml_shim.machine import Fault
from tests.nvml_shim.node import BIG, SMALL, TOKEN, Node, cutting_agent, env, prepared


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def process(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with cutting_agent(shim, tmp_path_factory.mktemp("node")) as started:
        yield started


@pytest.fixture
def node(process: Node) -> Node:
    return process.whole()


def test_the_token_is_needed_for_everything(node: Node) -> None:
    for token in (None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff"):
        for body in (None, {"gpu": "GPU-0", "layout": [BIG], "dry_run": False}):
            answered = node.ask(body, token=token and token.encode("utf-8", "surrogateescape").decode("latin-1"))
            assert (answered.status, answered.media_type) == (401, "application/problem+json")
    assert node.machine.state.changes == 0
    assert node.ask(token=f"bearer {TOKEN}").status == 200


def test_the_token_is_read_anew_and_without_one_nobody_is_let_in(node: Node) -> None:
    node.token_file.write_text("another\n")
    assert node.ask().status == 401
    assert node.ask(token="Bearer another").status == 200
    node.token_file.write_text("\n")
    refused = node.ask(token="Bearer ")
    assert (refused.status, refused.body["detail"]) == (503, "the agent's token file cannot be used; its log says why")


def test_layouts_are_told_and_changed(node: Node) -> None:
    (whole,) = node.ask().body["gpus"]
    assert (whole["board"], whole["mig"], whole["layout"][0]["profile"], whole["last"]) == (
        "h100-80gb",
        False,
        "whole",
        None,
    )
    planned = node.cut(BIG, SMALL, dry_run=True)
    assert (planned.status, planned.body["state"]) == (200, "planned")
    assert node.machine.state.changes == 0
    done = node.cut(BIG, SMALL)
    assert (done.status, done.body["state"], [step["done"] for step in done.body["steps"]]) == (200, "done", [True] * 3)
    (cut,) = node.ask().body["gpus"]
    uuids = node.machine.slices()
    assert [(piece["profile"], piece["start"], piece["uuids"], piece["sm"]) for piece in cut["layout"]] == [
        ("1g.10gb", 0, [uuids[Slice("1g.10gb", 0)]], 16),
        ("3g.40gb", 4, [uuids[Slice("3g.40gb", 4)]], 60),
    ]
    assert cut["last"] == done.body


def test_a_change_is_a_dry_run_unless_it_says_otherwise(node: Node) -> None:
    assert node.ask({"gpu": "GPU-0", "layout": [BIG]}).body["state"] == "planned"
    assert node.machine.state.changes == 0


def test_what_is_in_use_is_refused_with_the_process_and_the_steps(node: Node) -> None:
    node.cut(BIG)
    node.machine.attach(os.getpid(), Slice("3g.40gb", 4))
    refused = node.cut(SMALL)
    assert (refused.status, refused.media_type) == (409, "application/problem+json")
    assert f"3g.40gb at 4 is in use by {os.getpid()} (" in refused.body["detail"]
    assert [step["action"] for step in refused.body["outcome"]["steps"]] == ["destroy", "create"]


def test_a_step_that_fails_is_a_problem_with_what_was_done(node: Node) -> None:
    node.machine.fail(Fault.ERROR_BEFORE, at_change=3)
    failed = node.cut(BIG)
    assert (failed.status, failed.body["outcome"]["state"]) == (502, "failed")
    assert [step["done"] for step in failed.body["outcome"]["steps"]] == [True, False]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"no JSON", 422, "one JSON object"),
        ([], 422, ""),
        ({}, 422, "gpu: nothing is not allowed; it is required; layout: nothing is not allowed; it is required"),
        (
            {"gpu": "GPU-0", "layout": [{"profile": "1g.11gb"}]},
            422,
            "layout[0].profile: '1g.11gb' is not allowed; did you",
        ),
        ({"gpu": "GPU-0", "layout": [{"profile": "1g.10gb", "start": -1}]}, 422, "layout[0].start: -1 is not allowed"),
        ({"gpu": "GPU-0", "layout": [], "force": True}, 422, "force: this key is not allowed"),
        ({"gpu": "GPU-9", "layout": []}, 404, "no GPU named 'GPU-9'; known: GPU-0"),
        ({"gpu": "GPU-0", "layout": [{"profile": "3g.40gb", "start": 2}]}, 409, "h100-80gb cannot have this layout"),
        (b"[" * 70_000, 413, ""),
    ],
    ids=["no JSON", "no object", "nothing", "profile", "start", "key", "GPU", "layout", "too large"],
)
def test_what_cannot_be_asked_is_a_problem(node: Node, body: object, status: int, words: str) -> None:
    answered = node.ask(body)
    assert (answered.status, answered.media_type) == (status, "application/problem+json")
    assert answered.body["status"] == status
    assert words in answered.body["detail"]
    assert node.machine.state.changes == 0


def test_a_change_that_hangs_holds_up_neither_the_page_nor_the_layouts(shim: Path, tmp_path: Path) -> None:
    machine, more = prepared(tmp_path)
    with agent(env(shim, tmp_path), tmp_path, *more) as running:
        node = Node(running, machine, tmp_path / "token")
        machine.fail(Fault.HANG, at_change=1)
        body = json.dumps({"gpu": "GPU-0", "layout": [BIG], "dry_run": False})
        hanging = subprocess.Popen(
            [sys.executable, "-c", POST, f"{node.url}/mig", f"Bearer {TOKEN}", body], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while machine.state.changes == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert running.page()["controlplane_agent_nvml_up"] == [({"reason": ""}, 1.0)]
        (gpu,) = node.ask().body["gpus"]
        assert (gpu["last"]["state"], gpu["last"]["detail"]) == ("under_way", "step 1 is begun")
        assert running.end() == 0
        hanging.kill()
        hanging.wait()
    machine.mend()
    with agent(env(shim, tmp_path), tmp_path, *more) as running:  # and the next agent goes on with it
        until(lambda: set(machine.slices()) == {Slice("3g.40gb", 4)})
        node = Node(running, machine, tmp_path / "token")
        until(lambda: node.ask().body["gpus"][0]["last"]["state"] == "done")


POST = """
import sys, urllib.request
_, url, token, body = sys.argv
urllib.request.urlopen(urllib.request.Request(url, body.encode(), {"Authorization": token}))
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_a_driver_it_says_so(tmp_path: Path) -> None:
    if HAS_DRIVER:
        pytest.skip("this machine has an NVIDIA driver")
    machine, more = prepared(tmp_path)
    with agent(dict(os.environ), tmp_path, *more) as running:
        told = Node(running, machine, tmp_path / "token").ask()
    assert told.status == 503
    assert told.body["detail"] == "NVML: no NVIDIA driver on this machine (libnvidia-ml.so.1 not found)"


def test_by_itself_an_agent_cuts_nothing(shim: Path, tmp_path: Path) -> None:
    prepared(tmp_path)
    with agent(env(shim, tmp_path), tmp_path) as running, pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(running.url.replace("/metrics", "/mig"), timeout=10)
    with raised.value:
        assert raised.value.code == 404


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mig",), "--mig: alone, without --token-file, is not allowed; both or neither"),
        (("--token-file", "there"), "--token-file: alone, without --mig, is not allowed; both or neither"),
        (("--mig", "--token-file", "missing"), "token_file missing cannot be read: No such file or directory"),
    ],
)
def test_half_of_what_cutting_takes_is_a_fault_of_usage(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["agent", *options]) == 2
    assert words in capsys.readouterr().err
