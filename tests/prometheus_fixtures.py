"""A real Prometheus: Debian's, run by hand on a port of loopback, with storage of its own, stopped at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.domain.sources import PrometheusSpec

_DEADLINE_S = 60.0


def _state(task: Path) -> str:
    """The state letter of a thread, by its entry in /proc."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


class RealPrometheus:
    """A Prometheus that scrapes every second what it is told to."""

    def __init__(self, binary: str, home: Path) -> None:
        self._binary = binary
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._jobs: list[dict[str, Any]] = []
        self._alerting: dict[str, Any] = {}
        self._write()

    def spec(self, name: str = "prom", timeout_s: float = 5.0) -> PrometheusSpec:
        return PrometheusSpec(name, self.url, timeout_s)

    def start(self) -> None:
        arguments = (
            f"--config.file={self._home / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._home / 'data'}",
            "--storage.tsdb.retention.time=400d",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        )
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.until(lambda: self._answers("/-/ready"), "it is ready")

    def remember(self, openmetrics: str) -> None:
        """Take in samples with their timestamps, as if they had been scraped then. It must not run."""
        (self._home / "past").write_text(openmetrics, encoding="utf-8")
        self._promtool("openmetrics", str(self._home / "past"), str(self._home / "data"))

    def record(self, rules: str, since: float, until: float) -> None:
        """Evaluate recording rules over a time that is past, by its own engine, and keep what they gave."""
        (self._home / "rules.yml").write_text(rules, encoding="utf-8")
        times = (
            f"--start={since:.0f}",
            f"--end={until:.0f}",
            f"--url={self.url}",
            f"--output-dir={self._home / 'data'}",
        )
        self._promtool("rules", *times, str(self._home / "rules.yml"))
        self.kill()
        self.start()

    def _promtool(self, *arguments: str) -> None:
        program = Path(self._binary).with_name("promtool")
        command = [str(program), "tsdb", "create-blocks-from", *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr[-2000:]

    def scrape(self, jobs: Mapping[str, Sequence[str]], **options: Mapping[str, Any]) -> None:
        """Scrape these host:port by job from now on; `options` are keys of single jobs. Returns when all were scraped.

        Takes up to 5 s, Prometheus' own pace for new targets. The series of a target that is left out end with it
        while its job stays, those of a job that goes are told for five minutes more.
        """
        entries = []
        for job, targets in jobs.items():
            own = dict(options.get(job, {}))
            group = {"targets": list(targets), "labels": own.pop("labels", {})}
            entries.append({"job_name": job, "static_configs": [group], **own})
        self._jobs = entries
        self._write()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/-/reload", method="POST"), timeout=10):
            pass
        self.until_scraped_anew()

    def alert(self, rules: Sequence[Path], alertmanager: str) -> None:
        """Go by these files of rules, and tell that Alertmanager (host:port), from the next `scrape` on."""
        told = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        self._alerting = {"rule_files": [str(path) for path in rules], "alerting": told}

    def past(self, selector: str, at: float, span_s: float) -> dict[float, float]:
        """The samples of one series, by moment."""
        (row,) = self.samples(f"{selector}[{span_s:.0f}s]", at)
        return {float(moment): float(value) for moment, value in row["values"]}

    def samples(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        """What a query gives, as it comes; now or at a moment."""
        query = urllib.parse.urlencode({"query": promql} | ({"time": f"{at:.3f}"} if at is not None else {}))
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return found

    def points(self, promql: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        """The series that a query gives over a time, as they come."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        query = urllib.parse.urlencode({"query": promql, **times})
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range?{query}", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire or are pending, as it tells them."""
        with urllib.request.urlopen(f"{self.url}/api/v1/alerts", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["alerts"]
        return found

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something about it, up to a deadline."""
        deadline = time.monotonic() + _DEADLINE_S
        while not is_so():
            if time.monotonic() > deadline:
                log = (self._home / "log").read_text(encoding="utf-8", errors="replace")
                raise AssertionError(f"Prometheus: after {_DEADLINE_S:g} s not so that {what}\n{log[-2000:]}")
            time.sleep(0.05)

    def until_scraped_anew(self) -> None:
        """Wait until every target was scraped by a scrape that began after now."""
        begun = time.time()  # noqa: TID251 - a real Prometheus lives in real time
        wanted = {(job["job_name"], to) for job in self._jobs for to in job["static_configs"][0]["targets"]}

        def newer() -> bool:
            found = {
                (row["metric"]["job"], row["metric"]["instance"]): float(row["value"][1])
                for row in self.samples("timestamp(up)")
            }
            return all(found.get(target, 0.0) > begun for target in wanted)

        self.until(newer, f"these were scraped anew: {sorted(wanted)}")

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # its other threads stop a little later where all processors are busy
        tasks = Path(f"/proc/{self._process.pid}/task")
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.01)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self, path: str) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError((self._home / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _write(self) -> None:
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": self._jobs}
        config |= self._alerting
        (self._home / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def prometheus_binary() -> str:
    """The program; where it is not installed, a skip saying so (in CI a failure)."""
    found = shutil.which("prometheus")
    if found is None:
        why = "no prometheus; install the Debian package prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="module")
def prometheus(prometheus_binary: str) -> Iterator[RealPrometheus]:
    """One that runs, for all tests of a module, and scrapes nothing yet."""
    home = Path(tempfile.mkdtemp(prefix="cp-prom-"))
    made = RealPrometheus(prometheus_binary, home)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(home, ignore_errors=True)
