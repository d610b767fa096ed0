"""The console in a real browser, over a real socket, beside what the API says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.api.tokens import Scope, create_token
from controlplane.domain.errors import StoreBusyError
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import FleetReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.signal import Known, Missing
from tests.browser import Browser, Tab, chromium_binary
from tests.console_reading import BOXES, CONTRASTS, LOOK, row, says, told
from tests.console_world import HOSTILE, ConsolePlane, LargePlane
from tests.integration.test_api_cli import Served
from tests.unit.api.fakes import NOW, FakePlane, scale_up

SHOWN = "!document.getElementById('shown').hidden && document.querySelector('#glance dl')"
ASKED = "!document.getElementById('ask').hidden"
PHONE_PX = 390


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(chromium_binary(), tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Tab]:
    """For control planes that a test starts itself; each has an address of its own."""
    made = Tab(browser)
    yield made
    made.close()


def _served(plane: ConsolePlane) -> Iterator[Served]:
    asyncio.run(plane.write_decisions())
    made = Served(plane)
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that nothing changes."""
    yield from _served(ConsolePlane(tmp_path_factory.mktemp("plane")))


@pytest.fixture(scope="module")
def shown(browser: Browser, served: Served) -> Iterator[Tab]:
    """Its page with everything read."""
    made = Tab(browser)
    open_whole(made, served)
    yield made
    made.close()


@pytest.fixture(scope="module")
def changing_plane(tmp_path_factory: pytest.TempPathFactory) -> ConsolePlane:
    plane = ConsolePlane(tmp_path_factory.mktemp("changing"))
    plane.health = replace(plane.health, interval_s=1.0)
    return plane


@pytest.fixture(scope="module")
def changing(browser: Browser, changing_plane: ConsolePlane) -> Iterator[Tab]:
    """The page of one that tests change, with everything read, and read again each second."""
    made = Tab(browser)
    for served in _served(changing_plane):
        open_whole(made, served)
        yield made
    made.close()


@pytest.fixture
def plane(changing_plane: ConsolePlane) -> Iterator[ConsolePlane]:
    """What the page `changing` shows; it is afterwards as it was."""
    before, loop_before = vars(changing_plane).copy(), vars(changing_plane.loop).copy()
    yield changing_plane
    vars(changing_plane).update(before)
    vars(changing_plane.loop).update(loop_before)


def open_whole(tab: Tab, served: Served) -> None:
    tab.open(f"{served.url}/")
    tab.until(f"{SHOWN} && document.querySelector('#mig svg') && document.querySelector('#decisions table')")


def test_it_shows_what_the_api_says(served: Served, shown: Tab) -> None:
    fleet = told(f"{served.url}/api/v1/fleet")
    assert "as of 08:00:00 UTC" in shown.text("#age")
    assert shown.text("#loop") == "last tick 4 s before that, 7 done, 1 skipped"
    for alert in fleet["models"][0]["alerts"]:
        key = json.dumps([alert["model"], alert["objective"], alert["severity"]], separators=(",", ":"))
        assert row(shown, "alerts", key) == [alert["severity"], "firing", alert["summary"], "07:50:00 (10 min)"]
    assert row(shown, "models", "bert")[1:] == ["1 of 1 server", "2", "41.5", "44", "94 %", "3"]
    availability = row(shown, "objectives", '["bert","availability_server"]')
    assert availability[2:6] == ["99.9 %", "99.000 %", "broken", "-900.0 %"]
    assert row(shown, "objectives", '["bert","latency_100ms_mean_slices"]')[3:5] == ["99.900 % to 99.950 %", "kept"]
    (decision,) = told(f"{served.url}/api/v1/decisions?changes_only=true")
    at, model, server, why, came = row(shown, "decisions", decision["id"])
    assert (at, model, server) == ("07:59:56", "bert", "triton-0")
    assert why.startswith(decision["headline"])
    assert came == "not carried out: mode recommend"
    of, what, until, by, reason, _ = row(shown, "people", "fr-1")
    assert (of, what, by, reason) == ("all", "frozen (no_down)", "ben", "launch at noon")
    assert until.startswith("08:12:00 (1")
    assert until.endswith(" left)")
    assert row(shown, "people", "ov-1")[:2] == ["bert", "instances 3"]
    assert row(shown, "servers", "triton-0") == ["triton-0", "triton", "yes", "0 s ago", "explicit", "1"]
    assert "throttled by sw_thermal" in shown.text("#gpus")
    assert shown.value("document.title") == "(2) controlplane"
    assert shown.faults() == []


def test_slices_are_drawn_where_the_api_says_that_they_lie(served: Served, shown: Tab) -> None:
    drawn = dict(shown.value(BOXES))
    for gpu in told(f"{served.url}/api/v1/mig")["gpus"]["value"]:
        changed = {"new": gpu["created"], "goes": gpu["destroyed"]}
        layouts = {"now": gpu["now"]} if gpu["units"] else {}
        if gpu["created"] or gpu["destroyed"]:
            layouts["planned"] = gpu["planned"]
        assert drawn[gpu["uuid"]].keys() == layouts.keys()
        for name, slices in layouts.items():
            boxes = drawn[gpu["uuid"]][name]
            taken = [box for box in boxes if box[0] != "free"]
            assert len(taken) == len(slices)
            for (kind, left, width, text), piece in zip(taken, slices, strict=True):
                assert left == pytest.approx(piece["start"] / gpu["units"], abs=1e-3)
                assert width == pytest.approx(piece["size"] / gpu["units"], abs=1e-3)
                assert text.endswith(piece["profile"])
                mark = "goes" if name == "now" else "new"
                assert kind.split()[0] == (mark if piece in changed[mark] else "stays")
            assert sum(width for _, _, width, _ in boxes) == pytest.approx(1.0, abs=1e-3), "what is free is drawn too"
    assert shown.value("Array.from(document.querySelectorAll('#mig svg[role=img]'), (n) => n.ariaLabel)[2]") == (
        "GPU-b now, 4 units: free from 0 to 3; 1g.6gb at 3, 1 wide: bert"
    )
    mig = shown.text("#mig")
    for text in (
        "plan of 30 s ago: pays",
        "last change: under way, 2 of 5 steps",
        "NVIDIA L4 is no board",
        "mode: act",
    ):
        assert text in mig, text


def test_what_is_missing_or_stale_is_told_as_that(shown: Tab) -> None:
    assert row(shown, "models", '["resnet","triton-0"]')[5:9] == ["not known"] * 4
    assert row(shown, "models", "resnet")[3:5] == ["not known", "not known"]
    stale = row(shown, "models", json.dumps([HOSTILE, "triton-0"], separators=(",", ":")))
    assert "stale, 1 min old" in stale[2]
    assert row(shown, "models", HOSTILE)[1] == "0 of 1 server\n1 ready when read last"
    assert "no target was decided: data missing: timed out" in shown.text("#models")
    assert "not part of the last decision" in shown.text("#models")


def test_what_goes_missing_goes_missing_on_the_page(plane: ConsolePlane, changing: Tab) -> None:
    plane.gpus = Missing("NVML hangs")
    plane.loop.live = Missing("connection refused")
    changing.value(LOOK)
    changing.until(f"{says('gpus', 'GPUs are not known: NVML hangs')} && {says('servers', 'connection refused')}")
    assert row(changing, "servers", "triton-0")[2] == "not known"
    assert "0 of 1 live\n1 not known" in changing.text("#glance")


def test_what_is_partly_known_is_told_as_the_least_that_it_can_be(shown: Tab) -> None:
    adds = """(async () => {
      const { sum, total } = await import("./console/signals.js");
      const { draw } = await import("./console/dom.js");
      const read = (content) => {
        const here = document.createElement("p");
        draw(here, content);
        return here.textContent;
      };
      const known = { state: "known", value: 2 }, none = { state: "missing", value: null };
      const stale = { state: "stale", value: 3, age_s: 70 };
      return [[known, known], [known, none], [none, none], [known, stale]]
        .map((views) => read(total(sum(views))));
    })()"""
    assert shown.value(adds) == [
        "4",
        "at least 2 (1 of 2 not known)",
        "not known",
        "5 (stale, up to 1 min 10 s old)",
    ]


def test_a_name_that_is_markup_stays_text(shown: Tab) -> None:
    for section in ("models", "people", "mig"):
        assert HOSTILE in shown.text(f"#{section}"), section
    assert shown.value("document.querySelectorAll('#shown img, #shown script').length") == 0
    assert shown.value("window.attacked === undefined")
    assert shown.faults() == [], "the browser's own guards had nothing to refuse"


def test_markup_would_be_refused_by_the_browser(shown: Tab) -> None:
    tried = f"(() => {{ try {{ document.body.innerHTML = {json.dumps(HOSTILE)} }} catch (e) {{ return e.name }} }})()"
    assert shown.value(tried) == "TypeError"
    assert shown.value("window.attacked === undefined")


@pytest.fixture
def secret(tmp_path: Path) -> str:
    return create_token(tmp_path / "tokens", "ann", Scope.VIEWER, NOW + 3600)


def test_a_token_is_asked_for_kept_in_the_tab_and_forgotten(tmp_path: Path, tab: Tab, secret: str) -> None:
    tokens = tmp_path / "tokens"
    served = Served(ConsolePlane(tmp_path, extra=f"api: {{tokens_file: {tokens}}}\n"))

    def submit(token: str) -> None:
        tab.value(f"document.getElementById('token').value = {json.dumps(token)}")
        tab.value("document.querySelector('#ask button').click()")

    try:
        tab.open(f"{served.url}/")
        tab.until(ASKED)
        assert "a bearer token is needed" in tab.text("#why")
        assert tab.value("document.getElementById('shown').hidden")
        submit("cp_wrong")
        tab.until("document.getElementById('why').innerText.includes('not known or ran out')")
        assert tab.value("sessionStorage.length") == 0
        submit(f" {secret} ")
        tab.until(SHOWN)
        assert tab.value("[document.getElementById('ask').hidden, document.getElementById('token').value]") == [
            True,
            "",
        ]
        assert tab.value("Object.values(sessionStorage)") == [secret]
        assert tab.value("[localStorage.length, document.cookie]") == [0, ""]
        addresses = tab.value("[location.href, ...performance.getEntriesByType('resource').map((e) => e.name)]")
        assert len(addresses) > 10
        assert not [address for address in addresses if secret in address or "token" in address]
        known = tokens.read_text(encoding="utf-8")
        tokens.write_text("", encoding="utf-8")
        tab.value(LOOK)
        tab.until(ASKED)
        assert tab.value("document.getElementById('shown').hidden"), "what a token protects goes with it"
        assert tab.value("sessionStorage.length") == 0
        tokens.write_text(known, encoding="utf-8")
        submit(secret)
        tab.until(f"{SHOWN} && !document.getElementById('forget').hidden")
        tab.value("document.getElementById('forget').click()")
        tab.until(f"{ASKED} && sessionStorage.length === 0")
        assert tab.faults() == []
    finally:
        served.close()


def test_what_was_read_last_stays_with_its_age_when_nobody_answers(tmp_path: Path, tab: Tab) -> None:
    served = Served(ConsolePlane(tmp_path))
    try:
        tab.open(f"{served.url}/")
        tab.until(f"{SHOWN} && document.querySelector('#mig svg')")
    finally:
        served.close()
    tab.value(LOOK)
    tab.until("document.querySelector('#notices .bad')")
    notice = "What is shown is of 08:00:00 UTC. Since then: the control plane does not answer. It is tried again."
    assert tab.text("#notices") == notice
    tab.until("!document.getElementById('age').innerText.endsWith(' 0 s ago')")
    assert row(tab, "models", "bert")[3] == "41.5"
    assert tab.faults() == []


def test_it_goes_on_without_decisions_while_the_store_is_away(
    plane: ConsolePlane, changing: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StoreBusyError("the database is away")

    monkeypatch.setattr(plane.desk, "decisions", away)
    plane.health = replace(plane.health, ticks=8)
    changing.value(LOOK)
    changing.until(f"{says('decisions', 'the database is away')} && {says('loop', '8 done')}")
    assert row(changing, "decisions", "de-0001-up")[1] == "bert", "those of before stay"


def test_one_that_stands_by_and_one_that_is_not_ready_say_so(plane: ConsolePlane, changing: Tab) -> None:
    plane.health = LoopHealth(leader="plane-1", epoch=4, interval_s=1.0)
    changing.value(LOOK)
    changing.until(says("notices", "This control plane stands by: plane-1 leads, in epoch 4"))
    assert changing.text("#loop") == "stands by; plane-1 leads, in epoch 4"
    plane.health = LoopHealth(7, 1, NOW - 300.0, 0.02, interval_s=1.0, leading=True, leader="plane-0")
    changing.value(LOOK)
    changing.until(says("notices", "It does not do its work: the last tick was 300 s ago, more than 45 s"))


class EmptyPlane(FakePlane):
    """Nothing is configured, found or read."""

    def picture(self) -> Picture:
        return Picture(NOW, Fleet((), ()), FleetReading(NOW, {}, {}, {}, Known((), NOW)))


def test_an_empty_fleet_is_told_as_that(tmp_path: Path, tab: Tab) -> None:
    served = Served(EmptyPlane(tmp_path))
    try:
        tab.open(f"{served.url}/")
        tab.until(f"{SHOWN} && {says('decisions', 'Nothing was decided')} && {says('mig', 'no plan')}")
        for section, text in {
            "models": "No model is configured.",
            "objectives": "No model has an objective.",
            "alerts": "No objective has burn alerts.",
            "people": "No override and no freeze stands.",
            "servers": "No server is configured or found.",
            "gpus": "No GPU is seen.",
            "loop": "no tick was done yet",
        }.items():
            assert tab.value(says(section, text)), section
        assert tab.faults() == []
    finally:
        served.close()


def test_what_a_person_opened_stays_open_while_the_page_reads_on(plane: ConsolePlane, changing: Tab) -> None:
    opened = "document.querySelector('#decisions tr[data-key=de-0001-up] details')"
    changing.value(f"{opened}.open = true")
    changing.until(f"{opened}.querySelectorAll('li').length > 1")
    lines = f"Array.from({opened}.querySelectorAll('li'), (line) => line.textContent)"
    explained = changing.value(lines)
    assert explained[1].startswith("seen:"), explained
    plane.decisions = (replace(scale_up(NOW - 1.0), id="de-0003-up", model="resnet"),)
    asyncio.run(plane.write_decisions())
    changing.value(LOOK)
    changing.until("document.querySelector('#decisions tr[data-key=de-0003-up]')")
    assert changing.value(f"{opened}.open")
    assert not changing.value("document.querySelector('#decisions tr[data-key=de-0003-up] details').open")
    assert changing.value(lines) == explained


def test_elements_are_found_again_where_they_moved(shown: Tab) -> None:
    moved = """import("./console/dom.js").then(({ el, draw }) => {
      const here = document.createElement("ul");
      const list = (...keys) => draw(here, keys.map((key) => el("li", { "data-key": key }, key)));
      list("a", "b", "c");
      const [a, , c] = here.children;
      list("c", "d", "a");
      return [here.textContent, here.children[0] === c, here.children[2] === a];
    })"""
    assert shown.value(moved) == ["cda", True, True]


def test_whatever_was_drawn_becomes_what_is_wanted(shown: Tab) -> None:
    differing = """import("./console/dom.js").then(({ el, draw }) => {
      let seed = 7;
      const any = (count) => (seed = (seed * 48271) % 2147483647) % count;
      const said = () => ({ class: any(2) ? `c${any(3)}` : null, "data-key": any(2) ? `k${any(5)}` : undefined });
      const made = (depth) => Array.from({ length: any(5) }, () =>
        any(3) === 0 || depth === 0 ? `t${any(3)}` : el(["p", "b"][any(2)], said(), made(depth - 1)));
      const here = document.createElement("div");
      const wrong = [];
      for (let i = 0; i < 500; i++) {
        const [before, wanted] = [here.innerHTML, made(3)];
        const anew = document.createElement("div");
        draw(anew, structuredClone(wanted));
        draw(here, wanted);
        if (!here.isEqualNode(anew)) wrong.push([before, here.innerHTML, anew.innerHTML]);
      }
      return wrong.slice(0, 3);
    })"""
    assert shown.value(differing) == []


@pytest.fixture(scope="module")
def large_plane(tmp_path_factory: pytest.TempPathFactory) -> LargePlane:
    """Forty servers with ten models, of which the first changes with each tick."""
    return LargePlane(tmp_path_factory.mktemp("large"), 40)


@pytest.fixture(scope="module")
def large(large_plane: LargePlane) -> Iterator[Served]:
    made = Served(large_plane)
    yield made
    made.close()


def test_only_what_changed_is_drawn_again(large_plane: LargePlane, large: Served, tab: Tab) -> None:
    tab.open(f"{large.url}/")
    tab.until(SHOWN)
    watch = """(() => {
      window.changed = [];
      window.made = 0;
      const make = document.createElement;
      document.createElement = function (...what) { window.made += 1; return make.apply(this, what); };
      const row = ({ target }) => (target.closest ? target : target.parentElement).closest("tr")?.dataset.key;
      new MutationObserver((all) => window.changed.push(...all.map(row)))
        .observe(document.getElementById("shown"),
          { subtree: true, childList: true, characterData: true, attributes: true });
    })()"""
    tab.value(watch)
    large_plane.tick()
    tab.value(LOOK)
    tab.until(f"{says('loop', '1 done')} && window.changed.length")
    units = {f'["model-0","server-{n}"]' for n in range(4)}
    assert set(tab.value("window.changed")) == {"model-0", *units}
    assert row(tab, "models", '["model-0","server-3"]')[6] == "41"
    assert tab.value("window.made") == 0, "nothing is made that is there"


def typed(tab: Tab, text: str) -> None:
    """With a person's keys: the filter is reached by one of them, and what was there is typed over."""
    tab.value("document.activeElement.blur()")
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="/", text="/")
    assert tab.value("document.activeElement.id") == "filter"
    tab.call("Input.insertText", text=text)


def keys(tab: Tab, section: str) -> list[str]:
    found: list[str] = tab.value(
        f"Array.from(document.querySelectorAll('#{section} tbody tr'), (tr) => tr.dataset.key)"
    )
    return found


def test_a_fleet_is_narrowed_to_what_is_looked_for(large: Served, tab: Tab) -> None:
    tab.open(f"{large.url}/")
    tab.until(SHOWN)
    assert not tab.text("#matches")
    typed(tab, "Server-14")
    assert tab.text("#matches") == "1 of 10 models, 1 of 40 servers and workloads"
    assert keys(tab, "models") == ["model-3", '["model-3","server-14"]'], "the model as a whole, and where it is meant"
    assert keys(tab, "servers") == ["server-14"]
    assert tab.text("#servers .count") == "1 of 40 shown"
    assert tab.text("#gpus .body") == "none of 40 matches"
    assert "40 of 40 live" in tab.text("#glance"), "at a glance is all of it"
    typed(tab, "model-7")
    assert keys(tab, "servers") == [f"server-{n}" for n in range(28, 32)], "a server by its models"
    assert len(keys(tab, "models")) == 5
    assert tab.value("location.hash") == "#filter=model-7"
    typed(tab, HOSTILE)
    assert tab.text("#matches") == "0 of 10 models, 0 of 40 servers and workloads"
    assert tab.text("#models .body") == tab.text("#objectives .body") == "none of 10 matches"
    assert tab.faults() == []


def test_a_link_shows_what_was_looked_for_and_every_link_of_the_page_keeps_it(large: Served, tab: Tab) -> None:
    tab.open("about:blank")
    tab.open(f"{large.url}/#servers&filter=model-2%20")
    tab.until(f"{SHOWN} && document.activeElement.id === 'servers'")
    assert tab.value("document.getElementById('filter').value") == "model-2 "
    assert keys(tab, "servers") == [f"server-{n}" for n in range(8, 12)]
    top = "Math.round(document.getElementById('{}').getBoundingClientRect().top)"
    tab.value("document.querySelector('nav a').click()")
    tab.until("document.activeElement.id === 'models'")
    assert tab.value("location.hash") == "#models&filter=model-2+"
    assert 0 < tab.value(top.format("models")) < 400
    tab.value("history.back()")
    tab.until("document.activeElement.id === 'servers'")
    tab.value("location.hash = '#models'")
    tab.until("document.querySelectorAll('#models table')[0].tBodies[0].rows.length === 10")
    assert tab.value("document.getElementById('filter').value") == ""
    tab.value("location.hash = '#%&filter=%zz&nothing'")
    tab.until("document.getElementById('filter').value === '%zz'")
    assert tab.faults() == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LLAMA", "m on llama/0 llama/1, n on | llama/0, llama/1 | llama | 1, 3, 4"),
        ("meta", "m on llama/0 llama/1 | llama/0, llama/1 | llama | 1, 2, 3, 4"),
        ("llama/1", "m on llama/1 | llama/1 | llama | 1, 3, 4"),
        (" other ", "n on |  | other | 4"),
        ("llama.1", " |  |  | 4"),
    ],
)
def test_a_workload_is_found_by_its_models_and_servers_and_they_by_it(shown: Tab, text: str, found: str) -> None:
    servers, workload = ("llama/0", "llama/1"), {"name": "llama"}
    on = [{"server": name} for name in servers]
    told: dict[str, object] = {
        "servers": [{"name": name, "workload": "llama"} for name in servers],
        "workloads": [workload, {"name": "other"}],
        "models": [
            {"name": "m", "served_name": "meta/chat", "units": on, "workloads": [workload]},
            {"name": "n", "served_name": "n", "units": [], "workloads": [workload, {"name": "other"}]},
        ],
        "gpus": {"value": None},
        "overrides": [
            {"id": "1", "model": "", "server": "", "workload": "llama"},
            {"id": "2", "model": "m", "server": "elsewhere", "workload": ""},
            {"id": "3", "model": "m", "server": "", "workload": ""},
        ],
        "freezes": [{"id": "4", "model": "", "workload": ""}],
    }
    parts = {"fleet": told} | {part: {"value": None} for part in ("alerts", "decisions", "mig")}
    narrow = f"""import("./console/filter.js").then(({{ narrowed }}) => {{
      const {{ fleet }} = narrowed({json.dumps(parts)}, {json.dumps(text)});
      const listed = (model) => model.listed.map((unit) => unit.server).join(" ");
      const models = fleet.models.map((model) => `${{model.name}} on ${{listed(model)}}`.trim());
      const held = [...fleet.overrides, ...fleet.freezes].map((one) => one.id);
      const named = (all) => all.map((one) => one.name);
      return [models, named(fleet.servers), named(fleet.workloads), held].map((all) => all.join(", ")).join(" | ");
    }})"""
    assert shown.value(narrow) == found


def test_everything_of_a_kind_is_found_by_what_it_has_to_do_with(shown: Tab) -> None:
    shown.value("location.hash = '#filter=BERT'")
    shown.until("document.getElementById('matches').innerText")
    try:
        assert keys(shown, "people") == ["fr-1", "ov-1"], "a freeze of all holds it too"
        assert keys(shown, "decisions") == ["de-0001-up"]
        assert shown.value("document.querySelectorAll('#mig article').length") == 2
        shown.value("location.hash = '#filter=resnet'")
        shown.until("document.querySelectorAll('#mig p').length === 1")
        assert shown.text("#mig .body") == "none of 5 matches"
        assert keys(shown, "people") == ["fr-1"]
        assert keys(shown, "servers") == ["triton-0"]
        assert shown.text("#alerts .body") == "none of 2 matches"
        assert shown.text("#decisions .body") == "none of 1 matches"
    finally:
        shown.value("location.hash = ''")
        shown.until("!document.getElementById('matches').innerText")


def test_nothing_is_read_while_nobody_sees_the_page(shown: Tab) -> None:
    looked = """import("./console/poll.js").then(async ({ Poll }) => {
      let hidden = false, looks = 0;
      const timers = [];
      const poll = new Poll(async () => { looks += 1; return 15000; },
        { hidden: () => hidden, later: (call, after) => timers.push([call, after]), forget: () => {} });
      const told = [];
      const tell = () => told.push([looks, timers.length]);
      await poll.now(); tell();
      hidden = true; await timers[0][0](); tell();
      await poll.now(); tell();
      hidden = false; await poll.now(); tell();
      return [...told, timers.map(([, after]) => after)];
    })"""
    assert shown.value(looked) == [[1, 1], [1, 1], [1, 1], [2, 2], [15000, 15000]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_both_schemes_and_on_a_phone(shown: Tab, scheme: str) -> None:
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    shown.call("Emulation.setDeviceMetricsOverride", width=PHONE_PX, height=800, deviceScaleFactor=1, mobile=False)
    shown.value("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert shown.value("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
    assert shown.value("document.documentElement.scrollWidth") == PHONE_PX
    assert shown.value(CONTRASTS) == []


def test_tables_have_headers_and_pictures_have_words(shown: Tab) -> None:
    def count(selector: str) -> int:
        found: int = shown.value(f"document.querySelectorAll({json.dumps(selector)}).length")
        return found

    assert count("table") >= 10
    assert count("table") == count("table > caption") == count(".wide[role=region][tabindex='0'][aria-label]")
    assert count("thead th:not([scope=col])") == count("tbody th:not([scope=row])") == 0
    assert count("tbody tr") == count("tbody tr > th:first-child")
    assert count("svg:not(svg svg):not([role=img][aria-label]):not([aria-hidden=true])") == 0
    signs = "Array.from(document.querySelectorAll('.mark'), (n) => getComputedStyle(n, '::before').content[1])"
    assert {"●", "▲", "✖", "?"} <= set(shown.value(signs)) <= {"●", "▲", "✖", "?", "○"}, "no meaning by colour alone"
