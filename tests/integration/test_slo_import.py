"""History out of a real Prometheus: exact counts, the same as Prometheus' own rules give but for what those make up."""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from controlplane.cli.main import execute
from controlplane.collect.prometheus.api import LIMIT_BYTES, Prometheus
from controlplane.domain.errors import AnswerTooLargeError
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, Ports, ServerKind, ServerSpec, TargetsQuery, WorkloadSpec
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.sources import GatewaySpec, Through
from controlplane.domain.state import PolicyState
from controlplane.loop.past import ImportResult, PastImport, PastStore
from controlplane.store import SqlStore, lock_file, open_store
from tests.prometheus_fixtures import RealPrometheus
from tests.prometheus_past import Scrapes
from tests.unit.collect.pages import histogram_page, triton_page

HOUR_S, DAY_S = 3600.0, 86400.0
EVERY_S = 15.0
NOW = time.time() // HOUR_S * HOUR_S  # noqa: TID251 - a real Prometheus keeps what is near its own time
GRACE_S = 20.0
AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.99, 28 * DAY_S, IndicatorSource.SERVER)
E2E = Objective(Indicator.E2E, 0.95, 28 * DAY_S, IndicatorSource.SERVER, threshold_s=0.5)
TRITON = {"job": "triton", "instance": "t:8002"}
VLLM = {"job": "vllm", "instance": "v:8000"}
EDGES = (0.3, 0.5, 1.0, 2.5)


@dataclass
class Truth:
    """What was answered between two scrapes: (moment of the second one, good, bad), where both ends were scraped."""

    told: list[tuple[float, int, int]] = field(default_factory=list)

    def between(self, since: float, until: float) -> tuple[int, int]:
        """Good and bad events that are known of in [since, until)."""
        inside = [(good, bad) for at, good, bad in self.told if since <= at < until]
        return sum(good for good, _ in inside), sum(bad for _, bad in inside)


@dataclass
class Day:
    """Hours of a Triton with failures, idle times, a restart, failed scrapes and times that nobody scraped."""

    start: float
    hours: int
    seed: int
    phase_s: float = 3.0
    truth: Truth = field(default_factory=Truth)
    unmeasured_s: float = 0.0

    def into(self, scrapes: Scrapes) -> None:
        chance = random.Random(self.seed)  # noqa: S311 - a made-up history
        good = bad = request_us = 0
        new_good = new_bad = 0
        before: float | None = None
        for step in range(int(self.hours * HOUR_S / EVERY_S)):
            at = self.start + self.phase_s + step * EVERY_S
            minute = step * EVERY_S / 60 % 120
            busy = 0 if 40 <= minute < 50 else 40 if minute < 60 else 5
            came, failed = chance.randint(0, busy), int(chance.random() < 0.3 and busy > 0)
            good, bad, request_us = good + came, bad + failed, request_us + came * 1000
            new_good, new_bad = new_good + came, new_bad + failed
            if 80 <= minute < 82:
                if minute == 80:
                    good = bad = request_us = new_good = new_bad = 0  # the process ends, and counts from 0 again
                scrapes.failed(at, **TRITON)
                continue
            if 100 <= minute < 105:
                continue  # nobody scrapes
            scrapes.page(at, triton_page("bert", success=good, backend=bad, request_us=request_us), **TRITON)
            if before is not None:
                self.truth.told.append((at, new_good, new_bad))
            new_good = new_bad = 0
            before = at


def generations(scrapes: Scrapes, start: float, hours: int, seed: int) -> None:
    """Hours of a vLLM with a histogram of whole requests."""
    chance = random.Random(seed)  # noqa: S311 - a made-up history
    counts = dict.fromkeys((*map(str, EDGES), "+Inf"), 0)
    for step in range(int(hours * HOUR_S / EVERY_S)):
        at = start + 5.0 + step * EVERY_S
        for _ in range(chance.randint(0, 30 if step % 480 < 240 else 3)):
            took_s = chance.expovariate(4.0)
            for edge in counts:
                counts[edge] += took_s <= float(edge)
        page = histogram_page("vllm:e2e_request_latency_seconds", counts, model_name="llama", engine="0")
        gauges = "".join(
            f'vllm:num_requests_{state}{{model_name="llama",engine="0"}} 0\n' for state in ("running", "waiting")
        )
        scrapes.page(at, page + gauges, **VLLM)


def answers(scrapes: Scrapes, start: float, hours: int) -> int:
    """Hours of two processes of a gateway, one of which begins anew; gives how many errors they answered."""
    errors, told = 0, [[0, 0], [0, 0]]
    for step in range(int(hours * HOUR_S / EVERY_S)):
        for process in (0, 1):
            at = start + 2.0 + 4.0 * process + step * EVERY_S
            told[process] = [0, 0] if process and step == 100 else told[process]
            told[process][0] += 7
            told[process][1] += step % 5 == 0
            errors += step % 5 == 0 and step > 0
            page = "".join(
                histogram_page("request_seconds", {"0.5": count, "+Inf": count}, model="bert", code=code)
                for code, count in zip(("200", "503"), told[process], strict=True)
            )
            scrapes.page(at, page, job="gateway", instance=f"g{process}:80")
    return errors


AGES_S = {"recent": 8 * HOUR_S, "days": 4 * DAY_S, "weeks": 20 * DAY_S}
"""At the levels of 10 s, a minute and an hour."""
RECENT = NOW - AGES_S["recent"]


@pytest.fixture(scope="module")
def days() -> dict[str, Day]:
    return {name: Day(NOW - age_s, 4, seed) for seed, (name, age_s) in enumerate(AGES_S.items())}


@pytest.fixture(scope="module")
def remembering(prometheus_binary: str, days: dict[str, Day]) -> Iterator[RealPrometheus]:
    """A Prometheus with some hours of a Triton and a vLLM, near and far back."""
    home = Path(tempfile.mkdtemp(prefix="cp-past-"))
    made = RealPrometheus(prometheus_binary, home)
    scrapes = Scrapes()
    for day in sorted(days.values(), key=lambda day: day.start):
        day.into(scrapes)
    generations(scrapes, RECENT, 6, seed=9)
    answers(scrapes, RECENT, 1)
    try:
        made.remember(scrapes.openmetrics())
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(home, ignore_errors=True)


def fleet(prometheus: RealPrometheus) -> Fleet:
    triton = ServerSpec("t", ServerKind.TRITON, "http://t:8000", "", through=Through("prom", tuple(TRITON.items())))
    # read directly, and known to the Prometheus by the host and port of its page
    vllm = ServerSpec("v", ServerKind.VLLM, "http://v:8000", "http://v:8000/metrics")
    models = (
        ModelSpec("bert", "bert", ("t",), Mode.ACT, objectives=(AVAILABILITY,)),
        ModelSpec("llama", "llama", ("v",), Mode.OBSERVE, objectives=(E2E,)),
    )
    return Fleet((triton, vllm), models, prometheus=(prometheus.spec(),))


def imported(
    prometheus: RealPrometheus,
    store: PastStore | None,
    since: float,
    until: float,
    *,
    model: str = "",
    of: Fleet | None = None,
    limit_bytes: int = LIMIT_BYTES,
) -> ImportResult:
    async def run() -> ImportResult:
        source = Prometheus(prometheus.spec(), limit_bytes=limit_bytes)
        try:
            work = PastImport(of or fleet(prometheus), (model,) if model else (), source, GRACE_S)
            return await work.run(store, since, until, lambda _: None)
        finally:
            source.close()

    return asyncio.run(run())


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_store("sqlite://")
    opened.prune(NOW)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def whole(remembering: RealPrometheus) -> Iterator[SqlStore]:
    """The recent hours, imported once."""
    opened = open_store("sqlite://")
    opened.prune(NOW)
    imported(remembering, opened, RECENT, NOW - 60)
    yield opened
    opened.close()


def everything(store: SqlStore, key: Objective = AVAILABILITY, model: str = "bert") -> list[object]:
    """All sums of an objective at every level."""
    return [store.slices(model, key.key, 0, NOW, step) for step in (10, 60, HOUR_S, DAY_S)]


@pytest.mark.parametrize("age", AGES_S)
def test_what_was_counted_between_two_scrapes_is_imported_exactly(
    remembering: RealPrometheus, days: dict[str, Day], store: SqlStore, age: str
) -> None:
    day = days[age]
    end = day.start + 4 * HOUR_S
    found = imported(remembering, store, day.start, end, model="bert")
    good, bad = day.truth.between(day.start, end)
    counts = store.counts("bert", AVAILABILITY.key, day.start, end)
    assert (counts.good, counts.bad, counts.unsure) == (good, bad, 0)
    assert good > 1000
    assert found.written == found.objectives[0].slices
    # of each two hours two minutes of failed scrapes and five of none, less what a late reading still told of
    silent_s = 2 * (8 * (EVERY_S + 0) + 20 * EVERY_S + 2 * EVERY_S - 2 * GRACE_S)
    assert counts.measured_s == pytest.approx(counts.expected_s - silent_s, abs=3 * EVERY_S)
    assert counts.expected_s == pytest.approx(4 * HOUR_S, abs=EVERY_S)


def test_each_time_goes_in_at_the_levels_that_are_kept_for_it(
    remembering: RealPrometheus, days: dict[str, Day], store: SqlStore
) -> None:
    finest = {}
    for name, day in days.items():
        imported(remembering, store, day.start, day.start + 4 * HOUR_S, model="bert")
        steps = store.slices("bert", AVAILABILITY.key, day.start, day.start + 3 * HOUR_S, 10)
        finest[name] = min(after - before for (before, _), (after, _) in pairwise(steps))
    assert finest == {"recent": 10, "days": 60, "weeks": HOUR_S}


def test_servers_that_a_workload_found_then_are_imported_while_they_were_there(
    remembering: RealPrometheus, days: dict[str, Day], store: SqlStore
) -> None:
    found_by = TargetsQuery("prom", (("job", "tri.*"),))
    workload = WorkloadSpec("tritons", ServerKind.TRITON, found_by, Ports(8000, 8001, 8002))
    model = ModelSpec("bert", "bert", (), Mode.ACT, objectives=(AVAILABILITY,), workloads=("tritons",))
    day = days["recent"]
    of = Fleet((), (model,), prometheus=(remembering.spec(),), workloads=(workload,))
    imported(remembering, store, day.start, day.start + 6 * HOUR_S, of=of)
    counts = store.counts("bert", AVAILABILITY.key, day.start, day.start + 6 * HOUR_S)
    assert (counts.good, counts.bad) == day.truth.between(0, NOW)
    # nothing is measured of the two hours after it had left
    assert counts.measured_s < 4 * HOUR_S


def test_the_processes_of_a_gateway_are_differenced_each_on_its_own(
    remembering: RealPrometheus, store: SqlStore
) -> None:
    through = Through("prom", (("job", "gateway"),))
    gateway = GatewaySpec("edge", "", "request_seconds", "model", "code", "5..", through=through)
    seen = replace(AVAILABILITY, source=IndicatorSource.GATEWAY)
    model = ModelSpec("bert", "bert", (), Mode.OBSERVE, objectives=(seen,))
    of = Fleet((), (model,), gateways=(gateway,), prometheus=(remembering.spec(),))
    imported(remembering, store, RECENT, RECENT + 2 * HOUR_S, of=of)
    counts = store.counts("bert", seen.key, RECENT, RECENT + 2 * HOUR_S)
    assert counts.bad == answers(Scrapes(), RECENT, 1)
    assert counts.good == 2 * 7 * (240 - 1)
    assert counts.measured_s == pytest.approx(HOUR_S, abs=2 * EVERY_S)


def test_answers_that_would_be_too_large_are_asked_for_in_parts(
    remembering: RealPrometheus, store: SqlStore, whole: SqlStore
) -> None:
    imported(remembering, store, RECENT, NOW - 60, limit_bytes=30_000)
    assert everything(store) == everything(whole)
    assert minutes(store) == minutes(whole)
    with pytest.raises(AnswerTooLargeError, match="answer larger than"):
        imported(remembering, store, RECENT, NOW - 60, limit_bytes=300)


@pytest.mark.parametrize("age", AGES_S)
def test_importing_again_changes_nothing(
    remembering: RealPrometheus, days: dict[str, Day], store: SqlStore, age: str
) -> None:
    since = days["days"].start
    first = imported(remembering, store, since, NOW - 60)
    before = everything(store), everything(store, E2E, "llama"), minutes(store)
    again = imported(remembering, store, since, NOW - 60)
    assert (everything(store), everything(store, E2E, "llama"), minutes(store)) == before
    assert first.written > 0
    assert again.written == 0


class Dies:
    """A store whose process ends after so many hours were written."""

    def __init__(self, store: SqlStore, hours: int) -> None:
        self.store = store
        self.hours = hours

    def write_past(self, *written: object) -> int:
        self.hours -= 1
        if self.hours < 0:
            raise KeyboardInterrupt
        return self.store.write_past(*written)  # type: ignore[arg-type]


def minutes(store: SqlStore) -> list[object]:
    return [store.histograms("llama", Indicator.E2E, "", 0, NOW, step) for step in (60, HOUR_S, DAY_S)]


@pytest.mark.parametrize("hours", [1, 3])
def test_an_import_that_was_killed_is_made_whole_by_another(
    remembering: RealPrometheus, store: SqlStore, whole: SqlStore, hours: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        imported(remembering, Dies(store, hours), RECENT, NOW - 60)
    imported(remembering, store, RECENT, NOW - 60)
    assert everything(store) == everything(whole)
    assert everything(store, E2E, "llama") == everything(whole, E2E, "llama")
    assert minutes(store) == minutes(whole)


@pytest.mark.parametrize("age", ["recent", "days"])
def test_what_we_measured_ourselves_stays(
    remembering: RealPrometheus, days: dict[str, Day], store: SqlStore, age: str
) -> None:
    start = days[age].start + HOUR_S
    own = [
        Slice("bert", AVAILABILITY.key, start + i * 10, 1, 1, 0, 10.0, 10.0, AVAILABILITY.version) for i in range(12)
    ]
    fresh = open_store("sqlite://")
    fresh.write_tick(TickRecord(start + 120, tuple(own), (), (), PolicyState()))
    fresh.prune(NOW)
    imported(remembering, fresh, start - HOUR_S, start + HOUR_S, model="bert")
    mine = fresh.counts("bert", AVAILABILITY.key, start, start + 120)
    assert (mine.good, mine.bad) == (12, 12)
    good, bad = days[age].truth.between(start + 120, start + HOUR_S)
    whole = fresh.counts("bert", AVAILABILITY.key, start, start + HOUR_S)
    assert (whole.good, whole.bad) == (12 + good, 12 + bad)
    fresh.close()


@pytest.fixture
def configuration(remembering: RealPrometheus, tmp_path: Path) -> Path:
    """A control plane that reads the Triton through the Prometheus, and the vLLM itself."""
    file = tmp_path / "controlplane.yaml"
    file.write_text(f"""
store: sqlite:///{tmp_path / "store.db"}
prometheus: [{{name: prom, url: "{remembering.url}", interval: 15s}}]
servers:
  - {{name: t, kind: triton, http: "http://t", grpc: "t:1", through: {{prometheus: prom, labels: {{job: triton}}}}}}
  - {{name: v, kind: vllm, http: "http://v:8000"}}
  - {{name: w, kind: vllm, http: "http://nowhere:8000"}}
models:
  - name: bert
    runs_on: [t]
    objectives:
      - {{availability: 99%}}
      - {{name: lit, target: 99%, ratio: {{prometheus: prom, value: up, at_least: 50%}}}}
  - {{name: llama, runs_on: [v, w], mode: observe, objectives: [{{e2e: 500ms, target: 95%, source: server}}]}}
""")
    return file


def test_the_command_imports_and_says_what_it_found(
    configuration: Path, days: dict[str, Day], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()  # noqa: TID251 - of the Prometheus; another minute would be new otherwise
    monkeypatch.setattr("controlplane.loop.clock.wall_clock", lambda: now)
    command = ["slo", "import", "--config", str(configuration), "--prometheus", "prom", "--since", "10h"]
    assert execute([*command, "--dry-run", "--json"]) == 0
    dry = json.loads(capsys.readouterr().out)
    assert execute([*command, "--json"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert dry["written"] == 0
    assert told["objectives"] == dry["objectives"]
    bert = told["objectives"][0]
    good, bad = days["recent"].truth.between(0, NOW)
    assert (bert["model"], bert["good"], bert["bad"]) == ("bert", good, bad)
    assert told["written"] == sum(found["slices"] for found in told["objectives"])
    assert told["scrape_s"] == EVERY_S
    assert told["unread"] == {"w": "no scrape of it is known"}
    assert list(told["left_out"]) == ["bert ratio_lit_value_slices"]
    assert "100% done" in captured.err
    assert execute(command) == 0
    captured = capsys.readouterr()
    assert "0 slices of 10 s were new" in captured.out
    assert "bert availability_server: since" in captured.out
    assert "bert ratio_lit_value_slices is not imported: a share is looked at" in captured.out
    assert "nothing was read of w through Prometheus prom: no scrape of it is known" in captured.err


def test_while_the_control_plane_runs_the_command_refuses(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlock = lock_file(f"sqlite:///{tmp_path / 'store.db'}")
    assert execute(["slo", "import", "--config", str(configuration), "--prometheus", "prom", "--since", "1h"]) == 1
    assert "another control plane (process" in capsys.readouterr().err
    unlock()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--prometheus", "pram", "one of these is allowed: prom"),
        ("--since", "500d", "at most 400d is allowed"),
        ("--since", "soon", "a duration above 0"),
        ("--model", "brt", "one of these is allowed: bert, llama"),
    ],
)
def test_a_wrong_option_is_named(
    configuration: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    command = ["slo", "import", "--config", str(configuration), "--prometheus", "prom"]
    assert execute([*command, option, value]) == 2
    assert said in capsys.readouterr().err


RULES = """
groups:
  - name: slo
    interval: 60s
    rules:
"""


def rule(name: str, window: str, part: str) -> str:
    return f"      - record: {name}:{window}\n        expr: {part.replace('[w]', f'[{window}]')}\n"


FAILED = 'sum(increase(nv_inference_request_failure{model="bert",reason!="CANCELED"}[w]))'
ANSWERED = 'sum(increase(nv_inference_request_success{model="bert"}[w]))'
LATE = (
    'sum(increase(vllm:e2e_request_latency_seconds_bucket{model_name="llama",le="+Inf"}[w]))'
    ' - sum(increase(vllm:e2e_request_latency_seconds_bucket{model_name="llama",le="0.5"}[w]))'
)
TIMED = 'sum(increase(vllm:e2e_request_latency_seconds_bucket{model_name="llama",le="+Inf"}[w]))'
WINDOWS_S = {"30m": 1800.0, "1h": HOUR_S, "3h": 3 * HOUR_S}


@pytest.fixture(scope="module")
def recorded(remembering: RealPrometheus) -> RealPrometheus:
    """The same objectives by Prometheus' own recording rules, weighted by events."""
    rules = RULES
    for window in WINDOWS_S:
        for name, bad, total in (("bert", FAILED, f"{FAILED} + {ANSWERED}"), ("llama", LATE, TIMED)):
            rules += rule(f"{name}_bad", window, bad) + rule(f"{name}_total", window, total)
            rules += rule(f"{name}_share", window, f"({bad}) / ({total})")
    remembering.record(rules, RECENT, RECENT + 4 * HOUR_S)
    return remembering


@pytest.mark.parametrize(("model", "objective"), [("bert", AVAILABILITY), ("llama", E2E)])
@pytest.mark.parametrize("window", WINDOWS_S)
def test_prometheus_rules_agree_within_what_they_extrapolate(
    recorded: RealPrometheus, whole: SqlStore, model: str, objective: Objective, window: str
) -> None:
    """What `increase` may be wrong by over a window w of scrapes every d, and that it is not wrong by more.

    It takes the first and the last sample within w, each up to d inside its edge, and stretches what grew between them
    to all of w: by at most w / (w - 2 d). What it counts is at least what grew between scrapes that are both inside
    (`inner`), and at most all that our slices count which the window touches (`outer`), stretched.
    """
    w_s = WINDOWS_S[window]
    stretch = w_s / (w_s - 2 * EVERY_S)
    theirs = {what: recorded.past(f"{model}_{what}:{window}", NOW, 8 * HOUR_S) for what in ("bad", "total", "share")}
    compared = []
    for end in sorted(at for at in theirs["share"] if at >= RECENT + w_s)[::7]:
        inner = whole.counts(model, objective.key, math.ceil((end - w_s + EVERY_S) / 10) * 10, end // 10 * 10)
        outer = whole.counts(model, objective.key, (end - w_s) // 10 * 10, end)
        assert inner.bad <= theirs["bad"][end] * (1 + 1e-9)
        assert theirs["bad"][end] <= outer.bad * stretch * (1 + 1e-9)
        assert inner.events <= theirs["total"][end] * (1 + 1e-9)
        assert theirs["total"][end] <= outer.events * stretch * (1 + 1e-9)
        lowest, highest = inner.bad / outer.events / stretch, outer.bad * stretch / inner.events
        assert lowest <= theirs["share"][end] * (1 + 1e-9)
        assert theirs["share"][end] <= highest * (1 + 1e-9)
        compared.append((highest - lowest) / theirs["share"][end])
    assert len(compared) > 5
    # the bound says something: that is the stretch on both sides and the events at the edges, in parts of the share
    assert median(compared) < 0.3 * HOUR_S / w_s
