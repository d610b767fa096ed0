"""Probes of servers with an API like OpenAI's: completions and chat completions, streamed or not.

Source: vLLM 0.32 (tests/completion_server.py behaves as it was recorded), the OpenAI API reference, docs/openai of
Ollama, TGI and SGLang, which have the same two paths.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from controlplane.collect.http import Answer, Pages
from controlplane.collect.page_server import PageServer
from controlplane.collect.probes.prober import Counted, NotProbedError, Sent, error_of, in_words
from controlplane.collect.token_file import read_token
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import ModelSpec, ProbeSpec

_DEFAULT = {"prompt": "a", "max_tokens": 1, "temperature": 0, "stream": True}
_OUR_FAULT = {401, 403, 404}
"""Not allowed, or no such model or path: this is not what happened to others' requests."""
_OVERLOADED = 429
_BROKEN_OFF = frozenset({"abort", "error"})
_TOKENS = ("content", "reasoning_content", "reasoning", "tool_calls")


class CompletionProbe:
    """One completion: `probe.body`, else of the shortest prompt and one token, streamed.

    The body's form says which path it goes to; the model's served name stands in it unless it names one.
    """

    def __init__(
        self, reader: PageServer, model: ModelSpec, probe: ProbeSpec, *, pages: Pages, clock: Callable[[], float]
    ) -> None:
        request = {"model": model.served_name, **(json.loads(probe.body) if probe.body else _DEFAULT)}
        self._reader = reader
        self._model = model.name
        self._probe = probe
        self._pages = pages
        self._clock = clock
        self._target = f"probe of {model.name} on {reader.spec.name}"
        self._url = f"{reader.spec.http}/v1/{'chat/' if 'messages' in request else ''}completions"
        self._body = json.dumps(request).encode()
        self._streamed = bool(request.get("stream"))

    def ready(self) -> bool:
        """As Probe. A vLLM that is asleep leaves requests without an answer."""
        return self._reader.ready(self._model)

    async def send(self) -> Sent | None:
        """As Probe."""
        token = ""
        if self._probe.token_file:
            try:
                token = read_token(self._probe.token_file)
            except ValueError as error:
                raise NotProbedError(f"not probed: {error}") from None
        try:
            sent = await self._send(token)
        except NotProbedError as error:
            raise NotProbedError(without(token, str(error))) from None
        return replace(sent, error=without(token, sent.error)) if sent is not None else None

    async def _send(self, token: str) -> Sent | None:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        begun = time.perf_counter()
        stream = Stream(begun)
        try:
            answer = await self._ask(headers, stream)
        except (TargetUnreachableError, MalformedPageError) as error:
            # put to sleep, or unloaded, while we waited
            return None if self._reader.away(self._model) else Sent(time.perf_counter() - begun, _why(error))
        latency_s = time.perf_counter() - begun
        if answer.status in _OUR_FAULT:
            raise NotProbedError(f"not probed: {in_words(answer.status, answer.body)}")
        if answer.status != 200:
            return Sent(latency_s, in_words(answer.status, answer.body))
        if not self._streamed:
            return Sent(latency_s, fault(answer.body))
        return Sent(latency_s, stream.fault(), stream.ttft_s)

    async def _ask(self, headers: dict[str, str], stream: Stream) -> Answer:
        with Counted(self._reader.units[self._model].own_requests, self._clock) as own:
            answer = await self._pages.ask(
                self._target,
                "POST",
                self._url,
                timeout_s=self._probe.timeout_s,
                body=self._body,
                headers=headers,
                on_part=stream.take if self._streamed else None,
            )
            own.counted = not 400 <= answer.status < 500 or answer.status == _OVERLOADED
        return answer


class Stream:
    """Server-sent events of one completion as they come; `ttft_s` from `begun` to the first token.

    `last_token_s` likewise to the last of `tokens` so far, where each event brings one. `usage` is what the server says
    it counted: tokens of the prompt and of the answer.
    """

    def __init__(self, begun: float) -> None:
        self.ttft_s: float | None = None
        self.last_token_s = 0.0
        self.tokens = 0
        self.usage: tuple[int, int] | None = None
        self._begun = begun
        self._rest = b""
        self._ended = False
        self._error = ""

    def take(self, part: bytes) -> None:
        """The next part of the body."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def fault(self) -> str:
        """What is wrong with the answer; empty: it is whole."""
        return self._error or ("" if self._ended else "the stream ended before the answer did")

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._ended = True
            return
        try:
            told = json.loads(data)
        except ValueError:
            self._error = self._error or "an event of the stream is not JSON"
            return
        self._error = self._error or error_of(told)
        self.usage = _usage(told) or self.usage
        for choice in _choices(told):
            reason = choice.get("finish_reason")
            if _has_token(choice):
                self.tokens += 1
                self.last_token_s = time.perf_counter() - self._begun
            if self.ttft_s is None and (reason or _has_token(choice)):
                self.ttft_s = time.perf_counter() - self._begun
            self._ended = self._ended or bool(reason)
            if reason in _BROKEN_OFF:
                self._error = self._error or f"the server broke it off ({reason})"


def _has_token(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    return bool(choice.get("text") or (isinstance(delta, dict) and any(delta.get(key) for key in _TOKENS)))


def _usage(told: object) -> tuple[int, int] | None:
    usage = told.get("usage") if isinstance(told, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return (prompt, answer) if isinstance(prompt, int) and isinstance(answer, int) else None


def _choices(told: object) -> list[dict[str, Any]]:
    choices = told.get("choices") if isinstance(told, dict) else None
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def fault(body: bytes | None) -> str:
    """What is wrong with an answer that was not streamed; empty: nothing."""
    try:
        told = json.loads(body or b"")
    except ValueError:
        return "the answer is not JSON"
    choices = _choices(told)
    reason = next((r for choice in choices if (r := choice.get("finish_reason")) in _BROKEN_OFF), "")
    return (
        error_of(told)
        or ("" if choices else "the answer holds no choice")
        or (f"the server broke it off ({reason})" if reason else "")
    )


def without(token: str, words: str) -> str:
    """The words of a server that says back what it was sent, without the token, or the beginning of it at a cut."""
    if not token:
        return words
    words = words.replace(token, "***")
    begun = next((n for n in range(len(token) - 1, 3, -1) if words.endswith(token[:n])), 0)
    return words[:-begun] + "***" if begun else words


def _why(error: TargetUnreachableError | MalformedPageError) -> str:
    return error.why if isinstance(error, TargetUnreachableError) else str(error)
