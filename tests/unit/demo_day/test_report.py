import re
from html.parser import HTMLParser

from controlplane.demo.record import Mark, Point, Run, Track
from controlplane.demo.report import clock, render

VOID = {"meta", "br", "line", "rect", "path"}


class Balanced(HTMLParser):
    """Fails on tags that do not close in order; gathers what points elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.svgs = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.links += [named[name] for name in ("href", "src") if name in named]
        self.ids |= {named["id"]} if "id" in named else set()
        self.svgs += tag == "svg"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def run(**changes: object) -> Run:
    points = tuple(
        Point(float(t), loaded=t < 50, ready=2, desired=2, arrivals_per_s=20.0, p95_s=None if t == 30 else 0.1)
        for t in range(100)
    )
    marks = (Mark(12.0, "d-1", "a<b", "up", "1 -> 2 & more", ("seen: <much>",), "succeeded in 0.3 s"),)
    track = Track("what it is", 0.25, 0.95, points, {"instances": "1 to 2"})
    fields: dict[str, object] = {
        "duration_s": 100.0,
        "facts": {"failed": "0"},
        "phases": ((0.0, "quiet"),),
        "tracks": {"a<b": track},
        "marks": marks,
    }
    return Run(**(fields | changes))  # type: ignore[arg-type]


def parsed(text: str) -> Balanced:
    page = Balanced()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_the_picture_is_one_file_that_needs_nothing_from_elsewhere() -> None:
    text = render(run())
    page = parsed(text)
    assert page.links == ["#d-1"]
    assert page.ids == {"d-1"}
    assert page.svgs == 4
    assert "http" not in text
    assert "url(" not in text


def test_names_and_texts_cannot_break_the_page() -> None:
    text = render(run())
    assert "a&lt;b" in text
    assert "1 -&gt; 2 &amp; more" in text
    assert "seen: &lt;much&gt;" in text


def test_no_number_is_drawn_where_none_was_known() -> None:
    text = render(run())
    drawn = " ".join(re.findall(r' (?:d|x|x1|width)="([^"]*)"', text))
    assert not re.search(r"nan|none|inf", drawn, re.IGNORECASE)
    p95 = next(path for path in re.findall(r'<path class="" style="--c:var\(--p95\)" d="([^"]*)"', text))
    assert p95.count("M") == 2, "the curve has a gap at the second without latency"


def test_time_without_the_model_is_shaded() -> None:
    assert '<rect x="500.0"' in render(run())


def test_the_verdict_says_what_did_not_work() -> None:
    assert "The loop worked" in render(run())
    failed = render(run(complaints=("it was not scaled up",)))
    assert "The loop did not work: it was not scaled up" in failed


def test_a_run_without_points_or_decisions_still_gives_a_page() -> None:
    text = render(run(tracks={"a": Track("", None, None, ())}, marks=()))
    assert "No decision changed anything" in text
    parsed(text)


def test_seconds_read_as_a_clock() -> None:
    assert [clock(s) for s in (-1, 0, 59.6, 61, 605)] == ["0:00", "0:00", "1:00", "1:01", "10:05"]
