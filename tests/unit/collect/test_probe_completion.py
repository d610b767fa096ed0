from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.collect.probes.completion import Stream, fault, without

CHAT = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    b": keep-alive\n\n"
    b'data: {"choices":[{"index":0,"delta":{"content":"j"},"finish_reason":null}]}\r\n\r\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"^"},"finish_reason":"length"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)
LAST_TOKEN_WITHOUT_TEXT = b'data: {"choices":[{"index":0,"text":"","finish_reason":"length"}]}\n\ndata: [DONE]\n\n'


def taken(*parts: bytes) -> Stream:
    stream = Stream(0.0)
    for part in parts:
        stream.take(part)
    return stream


@given(st.lists(st.integers(0, len(CHAT)), max_size=8))
def test_it_does_not_matter_where_a_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CHAT)]
    stream = taken(*(CHAT[a:b] for a, b in pairwise(edges)))
    assert stream.fault() == ""
    assert stream.ttft_s is not None


def test_the_first_token_is_not_the_event_that_says_who_speaks() -> None:
    first, rest = CHAT.split(b"\n\n", 1)
    assert taken(first + b"\n\n").ttft_s is None
    assert taken(first + b"\n\n", rest).ttft_s is not None


def test_a_token_without_text_is_seen_by_the_end_of_the_answer() -> None:
    """As the real vLLM streams a token that is no whole character."""
    stream = taken(LAST_TOKEN_WITHOUT_TEXT)
    assert (stream.fault(), stream.ttft_s is None) == ("", False)


@pytest.mark.parametrize("key", ["content", "reasoning_content", "reasoning"])
def test_thinking_aloud_is_a_token(key: str) -> None:
    assert taken(f'data: {{"choices":[{{"delta":{{"{key}":"hm"}}}}]}}\n\n'.encode()).ttft_s is not None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the stream ended before the answer did"),
        (b'data: {"choices":[{"text":"a"}]}\n\n', "the stream ended before the answer did"),
        (b'data: {"choices":[{"text":"a","finish_reason":"stop"}]}\n\n', ""),
        (b'data: {"error":{"message":"out of blocks"}}\n\ndata: [DONE]\n\n', "out of blocks"),
        (b'data: {"choices":[{"text":"a","finish_reason":"abort"}]}\n\n', "the server broke it off (abort)"),
        (b"data: <html>\n\ndata: [DONE]\n\n", "an event of the stream is not JSON"),
        (b'{"choices":[{"text":"a","finish_reason":"stop"}]}', "the stream ended before the answer did"),
    ],
)
def test_a_stream_that_is_no_whole_answer_says_why(body: bytes, why: str) -> None:
    assert taken(body).fault() == why


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"choices": [{"text": "", "finish_reason": "length"}]}, ""),
        ({"choices": []}, "the answer holds no choice"),
        ([], "the answer holds no choice"),
        ({"error": "overloaded"}, "overloaded"),
        ({"choices": [{"text": "", "finish_reason": "error"}]}, "the server broke it off (error)"),
    ],
)
def test_a_whole_answer_is_one_with_a_choice(told: Any, why: str) -> None:
    assert fault(json.dumps(told).encode()) == why
    assert fault(b"<html>") == "the answer is not JSON"


@pytest.mark.parametrize("words", ["invalid key: s3cret-key", "s3cret-key is not known", "invalid key: s3cret-k"])
def test_a_token_that_a_server_says_back_is_taken_out_of_its_words(words: str) -> None:
    told = without("s3cret-key", words)
    assert "***" in told
    assert "s3cret" not in told


@pytest.mark.parametrize("token", ["", "s3cret-key"])
def test_words_without_the_token_stay(token: str) -> None:
    assert without(token, "Unauthorized") == "Unauthorized"


def test_tokens_are_counted_as_they_come_and_as_the_server_says() -> None:
    token, usage = b'data: {"choices":[{"text":"a"}]}\n\n', b'data: {"choices":[],"usage":%s}\n\n'
    stream = taken(
        token * 3 + usage % b'{"prompt_tokens":7,"completion_tokens":4,"total_tokens":11}' + b"data: [DONE]\n\n"
    )
    assert (stream.tokens, stream.usage, stream.fault()) == (3, (7, 4), "")
    assert stream.ttft_s is not None
    assert stream.last_token_s >= stream.ttft_s
    assert taken(token + usage % b"null").usage is None
