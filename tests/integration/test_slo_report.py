"""Reports on the command line and as a page in a real browser, of four weeks of history, over a real socket."""

from __future__ import annotations

import asyncio
import html
import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import slo_month
from tests.browser import chromium_binary
from tests.integration.test_api_cli import Captured, Served, run
from tests.unit.api.fakes import FakePlane

PHONE_PX = 390
WIDE_PX = 1280
DATA = re.compile(r'<data value="([^"]+)">')

_MEASURE = """<!doctype html><html><body style="margin:0"><iframe id="page" srcdoc="{page}"
style="width:{width}px;height:800px;border:0"></iframe><script>
document.getElementById("page").onload = event => {{
  const page = event.target.contentDocument, body = page.documentElement;
  const wide = [...page.body.querySelectorAll("*")].filter(e => !e.closest(".pins") && !e.closest("svg"))
    .filter(e => e.getBoundingClientRect().right > {width} + 0.5).map(e => e.tagName + "." + e.className);
  const cut = [...page.querySelectorAll("td, dd, dt, h1, h2, h3, .head, .row, summary")]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.tagName + ": " + e.textContent.slice(0, 40));
  page.querySelectorAll(".pins a > i").forEach(e => e.style.display = "block");
  const out = [...page.querySelectorAll(".pins a > i")].map(e => e.getBoundingClientRect())
    .filter(r => r.left < 0 || r.right > {width}).length;
  document.body.dataset.told = JSON.stringify({{scroll: body.scrollWidth, wide, cut, out, height: body.scrollHeight}});
}};
</script></body></html>"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    plane = FakePlane(tmp_path_factory.mktemp("month"), now=slo_month.NOW, configuration=slo_month.CONFIGURATION)
    models = {model.name: model.objectives for model in plane.loop.fleet.models}
    asyncio.run(plane.store.call(lambda s: slo_month.fill(s, models)))
    made = Served(plane)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def at_the_address(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROLPLANE_URL", served.url)
    monkeypatch.delenv("CONTROLPLANE_TOKEN", raising=False)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser; where it is not installed, a skip saying so (in CI a failure)."""
    return chromium_binary()


@pytest.fixture(scope="module")
def page(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "slo.html"
    assert run("slo", "report", "--html", str(path), "--url", served.url) == 0
    return path


def test_the_table_tells_all_of_it_in_80_columns(narrow: None, capsys: Captured) -> None:
    assert run("slo", "report") == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    for text in ("bert_classifier", "latency_100ms_gateway", "over 28 d", "kept", "broken", "unsure", "no events"):
        assert text in told, text
    assert run("slo", "adjustments") == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "ad-load-test" in told
    assert "latency_100ms_gateway" in told


def test_one_model_is_told_with_what_happened(capsys: Captured) -> None:
    assert run("slo", "report", "--model", "bert_classifier", "--window", "14d") == 0
    told = capsys.readouterr().out
    for text in ("over 14 d", "⚑ Page for 1 h 36 min", "by ben: a load test", "☞ freeze by ann", "scaled up 2"):
        assert text in told, text
    assert " became " not in told, "that was before"


def test_json_is_what_the_api_gives(capsys: Captured) -> None:
    assert run("slo", "report", "--json") == 0
    everything = json.loads(capsys.readouterr().out)
    assert [s["promise"] for s in everything] == ["kept", "kept", "unsure", "broken", "no_events"]
    assert run("slo", "report", "--model", "bert_classifier", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [o["standing"] for o in report["objectives"]] == everything[:2]
    assert len(report["objectives"][0]["steps"]) <= 400


def test_history_is_judged_again_where_histograms_allow_it(capsys: Captured) -> None:
    assert run("slo", "report", "--threshold", "200ms") == 0
    told = capsys.readouterr().out
    assert "judged by threshold 200 ms in place of 100 ms" in told
    assert re.search(r"99\.\d+%-99\.\d+%", told), "bounds: 200 ms cuts a bucket"
    assert "availability_server: not judged again: availability has no threshold" in told
    assert run("slo", "report", "--model", "nightly_batch", "--threshold", "200ms") == 1
    assert "availability has no threshold" in capsys.readouterr().err
    assert run("slo", "report", "--target", "99.9%", "--json") == 0
    reports = json.loads(capsys.readouterr().out)
    assert {o["standing"]["target"] for r in reports for o in r["objectives"]} == {0.999}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("report", "--window", "soon"), 2, "--window: 'soon' is not allowed"),
        (("report", "--model", "nobody"), 1, "known: bert_classifier"),
        (("report", "--html", "/nonexistent/page.html"), 2, "--html"),
        (("adjust", "bert_classifier", "exclude"), 2, "--reason"),
        (("adjust", "bert_classifier", "exclude", "--reason", "x"), 2, "takes --from, --to, no more"),
        (("adjust", "bert_classifier", "withdraw", "--bad", "3", "--reason", "x"), 2, "takes --id, no more"),
        (("adjust", "bert_classifier", "forget", "--reason", "x"), 2, "exclude, events, withdraw"),
        (("adjust", "bert_classifier", "withdraw", "--id", "ad-0", "--reason", "x"), 1, "ad-0"),
        (("adjustments", "--model", "nobody"), 1, "known: bert_classifier"),
    ],
)
def test_what_cannot_be_done_is_one_line_on_standard_error(
    capsys: Captured, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert run("slo", *arguments) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert len(told.err.splitlines()) == 1


def test_corrections_are_made_listed_and_taken_back(capsys: Captured) -> None:
    span = ("--from", "2026-11-20T10:00Z", "--to", "2026-11-20T12:00Z")
    assert run("slo", "adjust", "llama-8b", "exclude", *span, "--reason", "drill", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert run("slo", "adjustments", "--model", "llama-8b") == 0
    assert "left out 2026-11-20 10:00 to 2026-11-20 12:00" in capsys.readouterr().out
    assert run("slo", "adjust", "llama-8b", "withdraw", "--id", made["id"], "--reason", "it was real") == 0
    assert f"takes {made['id']} back" in capsys.readouterr().out
    assert run("slo", "adjustments") == 0
    assert "(withdrawn)" in capsys.readouterr().out


def told_by(chromium: str, page: Path, width: int, folder: Path) -> dict[str, object]:
    """What the page measures in a frame of this width."""
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        _MEASURE.format(page=html.escape(page.read_text(encoding="utf-8")), width=width), encoding="utf-8"
    )
    dumped = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDE_PX},900", "--virtual-time-budget=10000"),
            *("--dump-dom", wrapper.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    found = re.search(r'data-told="([^"]*)"', dumped)
    assert found, "the page did not load"
    told: dict[str, object] = json.loads(html.unescape(found[1]))
    return told


@pytest.mark.parametrize("width", [PHONE_PX, WIDE_PX], ids=["phone", "desk"])
def test_nothing_overflows_in_a_real_browser(chromium: str, page: Path, tmp_path: Path, width: int) -> None:
    told = told_by(chromium, page, width, tmp_path)
    assert told["scroll"] == width
    assert told["wide"] == []
    assert told["cut"] == []
    assert told["out"] == 0, "what a sign says is shown whole"


class Rows(HTMLParser):
    """The figures of the summary by model and objective, and those of the whole page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[str, str], list[float]] = {}
        self.all: list[float] = []
        self._row: list[float] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "tr" and "data-model" in named:
            self._row = self.rows[named["data-model"], named["data-objective"]] = []
        elif tag == "data":
            self.all.append(float(named["value"]))
            if self._row is not None:
                self._row.append(float(named["value"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self._row = None


def test_the_numbers_of_the_page_are_those_of_the_json(
    chromium: str, page: Path, tmp_path: Path, capsys: Captured
) -> None:
    """As the browser has them, not as the file does."""
    shown = Rows()
    shown.feed(
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
    )
    capsys.readouterr()
    assert run("slo", "report", "--json") == 0
    standings = json.loads(capsys.readouterr().out)
    assert set(shown.rows) == {(s["model"], s["objective"]) for s in standings}
    for standing in standings:
        low, high = standing["attainment_low"], standing["attainment_high"]
        figures = [low] if low == high else [low, high]
        expected = [*figures, standing["budget_left"], standing["coverage"]]
        assert shown.rows[standing["model"], standing["objective"]] == [v for v in expected if v is not None]
        for key in ("bad", "burn_1h", "burn_6h", "excluded_s"):
            assert standing[key] is None or standing[key] in shown.all, (standing["model"], key)
