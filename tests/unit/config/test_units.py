import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.config.units import (
    format_duration,
    format_share,
    is_loopback,
    parse_body,
    parse_duration,
    parse_grpc,
    parse_name,
    parse_share,
    parse_store,
    parse_url,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("28d", 2419200.0),
        ("4w", 2419200.0),
        ("100ms", 0.1),
        ("300ms", 0.3),
        ("700ms", 0.7),
        ("1.5h", 5400.0),
        (" 2m ", 120.0),
    ],
)
def test_a_duration_is_its_seconds_exactly(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", [5, 5.0, "5", "", "s", "0s", "-5s", "30s1m", "5 s", "5S", "1e3s", "٣s", None, True, []]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        parse_duration(value)


@given(st.integers(1, 10**9))
def test_a_duration_written_and_read_again_is_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("value", "share"), [("99%", 0.99), ("99.9 %", 0.999), (0.5, 0.5), ("0.995", 0.995), ("0.1%", 0.001)]
)
def test_a_share_is_a_percentage_or_a_fraction(value: object, share: float) -> None:
    assert parse_share(value) == share


@pytest.mark.parametrize(
    "value",
    [1, 99, 0, -0.1, "100%", "0%", "99", "1.0", "", "nan", "inf", float("nan"), True, None, "99.99999999999999999999%"],
)
def test_a_share_of_nothing_or_all_or_a_bare_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="percentage"):
        parse_share(value)


def test_a_share_is_written_as_a_percentage() -> None:
    assert [format_share(0.9), format_share(0.999)] == ["90%", "99.9%"]


@pytest.mark.parametrize("value", ["bert", "triton-0", "a.b_c", "_x", "9"])
def test_a_name_is_kept(value: str) -> None:
    assert parse_name(value) == value


@pytest.mark.parametrize("value", ["", "-a", ".a", "a@b", "a/b", "a b", "ä", "a" * 129, "a\n", 3])
def test_a_name_that_breaks_urls_or_keys_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="letters"):
        parse_name(value)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://h/metrics", "https://h/metrics"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_url_loses_its_last_slash(value: str, url: str) -> None:
    assert parse_url(value) == url


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1:8000",
        "ftp://h",
        "http://",
        "http://u:p@h",
        "http://h:99999",
        "http://h:0",
        "http://h/?a=b",
        "http://h h",
        "",
        8,
    ],
)
def test_what_is_no_plain_url_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="http"):
        parse_url(value)


@pytest.mark.parametrize("value", ["http://h:1", "h", "h:0", "h:65536", "h:", ":1", 8001])
def test_a_grpc_endpoint_is_host_and_port(value: object) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_grpc(value)
    assert parse_grpc("[::1]:8001") == "[::1]:8001"


@pytest.mark.parametrize(
    "value",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://h/d",
        "postgresql://h/d",
        "postgresql+psycopg://h",
        "x",
        1,
    ],
)
def test_a_store_that_keeps_nothing_or_is_not_supported_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        parse_store(value)


def test_a_body_may_be_a_mapping_or_its_text() -> None:
    assert parse_body({"inputs": []}) == parse_body('{"inputs": []}') == '{"inputs": []}'
    assert parse_body({"messages": []}) == '{"messages": []}'
    for wrong in ("{", "[]", {}, 3, {"inputs": {1, 2}}):
        with pytest.raises(ValueError, match="'inputs', 'prompt' or 'messages'"):
            parse_body(wrong)


def test_loopback_is_told_from_the_rest() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [False] * 4
