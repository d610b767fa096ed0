"""A slow job in a real process: it answers, fails, is killed, goes on, and ends with who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from controlplane.decide.placing import ModelNeed, PlacementQuestion, ServerRoom, place
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.loop.slow_job import SlowJob

NOW = 1_700_000_000.0
GIB = 2**30


def answer(question: str) -> str:
    """What the worker does: waits for a file, or fails, or prints, or answers at once."""
    kind, _, rest = question.partition(" ")
    if kind == "fail":
        raise ValueError(rest)
    if kind == "print":
        os.write(1, rest.encode())
    while kind == "wait" and not Path(rest).exists():
        time.sleep(0.01)
    return f"{kind} answered"


@pytest.fixture
def job() -> Iterator[SlowJob[str, str]]:
    job = SlowJob("test", answer, max_age_s=600.0)
    yield job
    job.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_worker_prints_does_not_go_to_standard_output(
    job: SlowJob[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.ask("print a line of the solver", NOW)
    until(lambda: isinstance(job.newest(NOW), Known))
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "a line of the solver")


def test_the_newest_answer_is_as_old_as_its_question_and_stays_while_the_next_is_made(
    job: SlowJob[str, str], tmp_path: Path
) -> None:
    assert job.newest(NOW) == Missing("never asked")
    assert job.ask("first", NOW)
    until(lambda: isinstance(job.newest(NOW), Known))
    assert job.newest(NOW + 10) == Known("first answered", NOW)
    assert job.newest(NOW + 601) == Stale("first answered", NOW, 601.0, "no newer answer yet")
    assert job.ask(f"wait {tmp_path / 'go'}", NOW + 60)
    assert not job.ask("skipped", NOW + 120)
    assert job.skipped == 1
    assert job.newest(NOW + 120) == Known("first answered", NOW)
    (tmp_path / "go").touch()
    until(lambda: job.newest(NOW + 120) == Known("wait answered", NOW + 60))


def test_a_failure_is_told_and_the_last_answer_stays(job: SlowJob[str, str]) -> None:
    job.ask("fail no such model", NOW)
    until(lambda: job.problem != "")
    assert job.newest(NOW) == Missing("ValueError: no such model")
    job.ask("first", NOW + 1)
    until(lambda: isinstance(job.newest(NOW + 1), Known))
    assert job.problem == ""
    worker = job.worker
    job.ask("fail again", NOW + 2)
    until(lambda: job.problem == "ValueError: again")
    assert job.newest(NOW + 2) == Known("first answered", NOW + 1)
    assert job.worker == worker, "a failure costs no process"


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_that_is_killed_is_replaced(job: SlowJob[str, str], tmp_path: Path, busy: bool) -> None:
    job.ask("first", NOW)
    until(lambda: isinstance(job.newest(NOW), Known))
    worker = job.worker
    assert worker is not None
    if busy:
        job.ask(f"wait {tmp_path / 'never'}", NOW + 1)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(worker))
    if busy:
        until(lambda: "died" in job.problem)
        assert job.newest(NOW + 2) == Known("first answered", NOW)
    # that an idle one died may be noticed only when it is asked: then a new one has the same question again

    def answered() -> bool:
        job.ask("second", NOW + 3)
        return job.newest(NOW + 3) == Known("second answered", NOW + 3)

    until(answered)
    assert job.problem == ""
    assert job.worker not in (None, worker)


def test_closing_ends_a_worker_that_works(job: SlowJob[str, str], tmp_path: Path) -> None:
    job.ask(f"wait {tmp_path / 'never'}", NOW)
    until(lambda: job.worker is not None)
    worker = job.worker
    assert worker is not None
    job.close()
    until(lambda: not psutil.pid_exists(worker))


def test_a_worker_ends_with_the_process_that_asked() -> None:
    program = (
        "import time; from controlplane.loop.slow_job import SlowJob; from os.path import basename\n"
        "if __name__ == '__main__':\n"
        "    job = SlowJob('test', basename, max_age_s=1.0); job.ask('a/b', 0.0)\n"
        "    while job.worker is None: time.sleep(0.01)\n"
        "    print(job.worker, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        worker = int(asking.stdout.readline())
        asking.kill()
    until(lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE)


def test_placing_is_answered_as_it_is_here() -> None:
    servers = (ServerRoom("t0", 8 * GIB, {"a": 1}), ServerRoom("t1", 6 * GIB))
    question = PlacementQuestion(
        servers, tuple(ModelNeed(n, size * GIB, 1, ("t0", "t1")) for n, size in (("a", 4), ("b", 8)))
    )
    job = SlowJob("placing", place, max_age_s=600.0)
    try:
        job.ask(question, NOW)
        until(lambda: isinstance(job.newest(NOW), Known))
        assert job.newest(NOW) == Known(place(question), NOW)
    finally:
        job.close()


def test_the_loop_imports_no_solver() -> None:
    code = (
        "import sys, controlplane.loop.wire, controlplane.loop.slow_job, controlplane.decide.placing;"
        "print([m for m in ('scipy', 'matplotlib', 'numba') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"
