"""`controlplane decide --stdin` as whoever drives it sees it: a process, lines in, lines out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from controlplane.decide.policy import Policy
from controlplane.store import open_store
from tests.shadow_lines import CONFIG, LINE_S, Fleet, conversation

COMMAND = (sys.executable, "-c", "from controlplane.cli.entry import main; main()", "decide", "--stdin")
RISES_S, FALLS_S = 600.0, 1500.0


def load(now: float) -> float:
    """Requests a second: a little, five times as much, a little."""
    return 60.0 if RISES_S <= now < FALLS_S else 8.0 + 4.0 * (now // 120.0 % 2)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


class Driven:
    """The command, asked line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    @property
    def stdin(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin

    def __call__(self, line: str) -> Mapping[str, Any]:
        assert self.process.stdout is not None
        self.stdin.write(f"{line}\n")
        self.stdin.flush()
        self.said.append(self.process.stdout.readline())
        answered: Mapping[str, Any] = json.loads(self.said[-1])
        return answered


@contextmanager
def driven(config: Path, *options: str) -> Iterator[Driven]:
    with subprocess.Popen(
        [*COMMAND, "--config", str(config), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        made = Driven(process)
        yield made
        made.stdin.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_desired_follows_the_load_up_and_after_the_dwell_down_and_goes_on_after_a_restart(
    config: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    fleet = Fleet(load, replicas=2)
    desired = {}
    with driven(config, "--state", str(state)) as answer:
        for answered in conversation(fleet, answer, round((FALLS_S + 300.0) / LINE_S)):
            desired[answered["now"]] = answered["desired"]["llama"]
            assert set(answered) == {"now", "desired", "actions", "reasons", "binding"}
    before, high, after = (desired[now] for now in (RISES_S - LINE_S, FALLS_S, max(desired)))
    assert high > before
    assert high > after
    fell = next(now for now, count in desired.items() if now > FALLS_S and count < high)
    assert fell - FALLS_S >= Policy().replicas_down_after_s
    with driven(config, "--state", str(state)) as answer:
        first, *_, last = conversation(fleet, answer, 4)
    assert (first["desired"]["llama"], first["binding"]["llama"]) == (after, "data_missing")
    with closing(open_store(f"sqlite:///{state}.db", create=False)) as store:
        assert len(store.slices("llama-8b", "ttft_1000ms_server", 9.99e8, 1.001e9, 60.0)) > 10
    # what one replica holds was learned before
    assert "replica_demand" in {reason["code"] for reason in last["reasons"]["llama"]}


def test_the_same_lines_give_the_same_bytes(config: Path) -> None:
    fleet = Fleet(lambda now: 8.0 + now / 60.0, replicas=2)
    lines = []
    for _ in range(80):
        lines.append(json.dumps(fleet.line()))
        fleet.follow(2 + round(fleet.now / 300.0))
    text = "\n".join(lines)
    first, second = (
        subprocess.run(
            [*COMMAND, "--config", str(config)], input=text.encode(), capture_output=True, check=True, timeout=120
        )
        for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) == len(lines)


def test_a_line_at_fault_is_told_by_number_and_the_rest_goes_on(config: Path) -> None:
    text = b'\xef\xbb\xbf{"now": 1}\n\n{"now": "\xff"}\nnonsense\n'
    text += b'{"now": 2, "servers": [{"name": "\\ud800", "state": "up"}]}\n'
    text += b'{"now": 2, "servers": [{"name": "a", "state": "up", "page": "\\ud800"}]}'
    done = subprocess.run([*COMMAND, "--config", str(config)], input=text, capture_output=True, check=False, timeout=60)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, b"")
    assert [entry.get("error", {}).get("line") for entry in told] == [None, 3, 4, 5, None]
    assert told[2]["error"]["message"].startswith("not JSON")


def test_strict_ends_at_the_first_line_at_fault(config: Path) -> None:
    text = b'nonsense\n{"now": 1}\n'
    done = subprocess.run(
        [*COMMAND, "--config", str(config), "--strict"], input=text, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (1, b"", 1)


def test_it_ends_quietly_when_nobody_reads_or_somebody_stops_it(config: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with driven(config, "--state", str(state)) as answer:
        answer('{"now": 1}')
        answer.process.send_signal(signal.SIGINT)
        assert answer.process.wait(30) == 0
    assert json.loads(state.read_text(encoding="utf-8"))["policy"]
    with driven(config) as answer:
        answer('{"now": 1}')
        assert answer.process.stdout is not None
        answer.process.stdout.close()
        answer.stdin.write('{"now": 2}\n{"now": 3}\n')
        answer.stdin.flush()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "--config"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--config", "CONFIG", "--state", "BAD"), "bad"),
        (("--config", "CONFIG", "--state", "LOST"), "state.json: cannot be written: No such file"),
    ],
)
def test_what_cannot_be_begun_is_told(config: Path, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[]", encoding="utf-8")
    names = {"CONFIG": str(config), "BAD": str(bad), "LOST": "/proc/lost/state.json"}
    given = [names.get(option, option) for option in options]
    done = subprocess.run([*COMMAND, *given], input="", capture_output=True, check=False, timeout=60, encoding="utf-8")
    assert (done.returncode, done.stdout) == (1 if "--state" in options else 2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
