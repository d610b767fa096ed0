from __future__ import annotations

import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from controlplane.domain.errors import ControlPlaneError, MalformedPageError, NotFoundError
from controlplane.sim import shapes
from controlplane.sim.loads import load_part
from controlplane.sim.trace import NAMED, Requests, load, read_counts, read_requests


def some(*at_s: float) -> Requests:
    numbers = np.arange(1, len(at_s) + 1, dtype=np.int32)
    return Requests(np.array(at_s), numbers, numbers * 10)


def test_the_traces_of_the_package_have_their_known_sizes() -> None:
    conv, code = load("conv"), load("code")
    assert (len(conv), len(code)) == (19366, 8819)
    assert conv.span_s == pytest.approx(3501.722)
    assert conv.prompt_tokens.max() == 14050
    assert conv.per_minute().sum() == 19366
    assert max(conv.per_minute()) / 60 == pytest.approx(8.45, abs=0.01)


def test_a_notice_names_every_trace_with_its_licence() -> None:
    folder = resources.files("controlplane.sim.traces")
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    for file in folder.iterdir():
        assert file.name in notice or file.name in {"NOTICE", "__init__.py", "__pycache__"}
    assert set(NAMED.values()) <= {file.name for file in folder.iterdir()}


def test_counts_are_read_by_function_and_day() -> None:
    assert list(read_counts("2aec780b", [1])[:3]) == [189, 168, 174]
    assert len(read_counts("bd33ce4b", [2, 3])) == 2880
    with pytest.raises(NotFoundError, match="bd33ce4b"):
        read_counts("nobody", [1])
    with pytest.raises(NotFoundError, match="'8'; known: 1, 2"):
        read_counts("bd33ce4b", [8])


@pytest.mark.parametrize(
    "text",
    [
        "arrival_seconds,input_tokens,output_tokens\n5.5,7,9\n5.0,1,2\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00.5000000,7,9\n2023-11-16 18:00:00.0000000,1,2\n",
        "at_s,prompt_tokens,output_tokens,user\n105.5,7,9,a\n\n105,1,2,b\n",
    ],
)
def test_logs_are_read_by_the_names_of_their_columns_in_order_of_arrival(tmp_path: Path, text: str) -> None:
    plain, packed = tmp_path / "log.csv", tmp_path / "log.csv.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        found = read_requests(path)
        assert list(found.at_s) == pytest.approx([0.0, 0.5])
        assert list(found.prompt_tokens) == [1, 7]
        assert list(found.output_tokens) == [2, 9]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("at_s,tokens\n1,2\n", "no column of these: prompt_tokens.*there is: at_s, tokens"),
        ("at_s,prompt_tokens,output_tokens\n1,2\n", "row 2 has 2 columns; 3 are needed"),
        ("at_s,prompt_tokens,output_tokens\n1,2,3\nsoon,2,3\n", "row 2: '1' is no moment|row 3: 'soon' is no moment"),
        ("at_s,prompt_tokens,output_tokens\nnan,2,3\n", "row 2: 'nan' is no moment"),
        ("at_s,prompt_tokens,output_tokens\n1,-2,3\n", "row 2: '-2' tokens"),
        ("at_s,prompt_tokens,output_tokens\n1,2,99999999999\n", "row 2: '99999999999' tokens"),
    ],
)
def test_what_is_wrong_with_a_log_is_told_with_its_row(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(MalformedPageError, match=told):
        read_requests(path)


def test_what_is_no_csv_is_told_without_a_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "log.csv.gz"
    broken.write_bytes(gzip.compress(b"at_s,prompt_tokens,output_tokens\n" * 50)[:-20])
    with pytest.raises(ControlPlaneError, match="cannot be read as CSV"):
        read_requests(broken)
    with pytest.raises(NotFoundError, match="known: conv, code, reasoning"):
        load("nothing-there")


def test_a_log_without_requests_is_a_trace_without_requests(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("at_s,prompt_tokens,output_tokens\n")
    found = read_requests(path)
    assert (len(found), found.span_s, len(found.per_minute())) == (0, 0.0, 0)


def test_arrivals_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        some(1.0, 0.5)
    with pytest.raises(ValueError, match="ascend"):
        some(-1.0, 0.5)


def test_a_part_begins_at_0_and_ends_before_its_end() -> None:
    part = some(1, 2, 3, 4).part(2, 4)
    assert list(part.at_s) == [0, 1]
    assert list(part.prompt_tokens) == [2, 3]


def test_times_keeps_pairs_of_tokens_the_span_and_the_shape() -> None:
    conv = load("conv")
    more = conv.times(7.5, np.random.default_rng(1))
    assert len(more) / len(conv) == pytest.approx(7.5, rel=0.01)
    assert more.at_s[0] >= 0
    assert more.span_s <= conv.span_s
    pairs = set(zip(conv.prompt_tokens, conv.output_tokens, strict=True))
    assert set(zip(more.prompt_tokens, more.output_tokens, strict=True)) <= pairs
    # 30 s of shift either way move a part of a minute's requests into its neighbours, no more
    assert np.corrcoef(more.per_minute()[:58], conv.per_minute()[:58])[0, 1] > 0.95


def test_times_is_the_same_for_the_same_seed() -> None:
    conv = load("conv").part(0, 300)
    once, again = (conv.times(2.5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(once.at_s, again.at_s)


def test_drawn_arrivals_keep_the_count_of_each_minute() -> None:
    counts = np.array([3, 0, 500, 40])
    for cv in (1.0, 3.0):
        drawn = shapes.from_counts(counts, cv, np.random.default_rng(1))
        assert list(drawn.per_minute()) == list(counts)
        assert set(drawn.output_tokens) == {1}


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0, 4.0])
def test_gaps_vary_as_asked(cv: float) -> None:
    drawn = shapes.from_counts(shapes.constant(50, 60), cv, np.random.default_rng(1))
    gaps = np.diff(drawn.at_s)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_tokens_of_drawn_arrivals_are_those_of_another_trace() -> None:
    drawn = shapes.from_counts(np.array([1000]), 1.0, np.random.default_rng(1), some(0, 1))
    assert {*zip(drawn.prompt_tokens.tolist(), drawn.output_tokens.tolist(), strict=True)} == {(1, 10), (2, 20)}


def test_a_cv_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        shapes.from_counts(np.array([1]), 0, np.random.default_rng(1))


def test_shapes_have_their_loads() -> None:
    assert set(shapes.constant(0.5, 3)) == {30}
    assert list(shapes.step(1, 2, 3, 1)) == [60, 120, 120]
    assert list(shapes.spike(1, 2, 4, 1, 2)) == [60, 120, 120, 60]
    day = shapes.diurnal(1, 3)
    assert len(day) == 1440
    assert list(day[:2]) == [60, 60]
    assert list(day[719:721]) == [180, 180]
    assert shapes.constant(0.001, 1000).sum() == 60


def test_counts_are_cut_and_scaled_in_whole_minutes_and_requests() -> None:
    counted = shapes.Counted(np.array([6, 0, 3, 9]))
    assert counted.span_s == 240
    assert list(counted.part(60, 200).per_minute()) == [0, 3, 9]
    rng = np.random.default_rng(1)
    assert list(counted.sample(rng).per_minute()) == [6, 0, 3, 9]
    # 3, 0, 1.5, 4.5 in whole requests, whose sum is kept
    assert list(counted.times(0.5, rng).per_minute()) == [3, 0, 1, 5]


def test_a_part_of_functions_knows_the_minutes_before_it() -> None:
    part, before = load_part("functions:2aec780b", 86_400, 86_400 + 600, 1.0)
    both = read_counts("2aec780b", (1, 2))
    assert list(part.per_minute()) == list(both[1440:1450])
    assert list(before) == list(both[:1440])
    whole, none = load_part("functions:2aec780b", None, None, 1.0)
    assert len(whole.per_minute()) == 7 * 1440
    assert not len(none)


def test_a_part_of_a_log_knows_the_minutes_before_it() -> None:
    conv = load("conv")
    part, before = load_part("conv", 630, None, 1.0)
    assert len(before) == 10
    assert before.sum() == ((conv.at_s >= 30) & (conv.at_s < 630)).sum()
    assert part.per_minute().sum() == (conv.at_s >= 630).sum()
    whole, none = load_part("conv", None, None, 1.0)
    assert len(whole.sample(np.random.default_rng(1))) == len(conv)
    assert not len(none)
