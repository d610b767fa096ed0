"""A server that behaves as vLLM 0.32 was recorded to: completions, streamed or not, errors, sleep, its metrics page.

For what a real one cannot be made to do at will, and for machines without one. Its tokens are all `x`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from typing import Any, Self

from aiohttp import web

_PAGE = """\
vllm:num_requests_running{{engine="0",model_name="{model}"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="{model}"}} {waiting}
vllm:kv_cache_usage_perc{{engine="0",model_name="{model}"}} 0.1
vllm:cache_config_info{{block_size="16",engine="0",num_gpu_blocks="1000"}} 1.0
vllm:engine_sleep_state{{engine="0",model_name="{model}",sleep_state="awake"}} {awake}
vllm:engine_sleep_state{{engine="0",model_name="{model}",sleep_state="weights_offloaded"}} {asleep}
vllm:e2e_request_latency_seconds_sum{{engine="0",model_name="{model}"}} {took_s}
vllm:request_queue_time_seconds_sum{{engine="0",model_name="{model}"}} 0.0
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="{model}"}} 0.0
vllm:request_success_total{{engine="0",finished_reason="length",model_name="{model}"}} {length}
vllm:request_success_total{{engine="0",finished_reason="abort",model_name="{model}"}} {abort}
vllm:request_success_total{{engine="0",finished_reason="error",model_name="{model}"}} {error}
"""


class CompletionServer:
    """Serves one model on a free port of the loopback, or at `address`; an async context manager.

    `asked`: path and body of each request. `took_s`: how long each streamed token did take, longer where the machine
    is busy, by requests running and the tokens of the prompt that it waited for. `token_s`: time that each token takes,
    `per_running_s` more for each running request, of which there are at most `max_num_seqs`; `per_prompt_token_s`: time
    of prefill, a word being a token.
    `turn_away_above`: more requests at a time get a 503.
    `break_off`: end a stream after its first token, with this error or (empty) without a word. `refuse`: status and
    body of every answer. `key`: the bearer token that is wanted.
    """

    def __init__(
        self, model: str = "tiny", *, max_num_seqs: int = 256, address: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self.model = model
        self._address = address
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.took_s: dict[tuple[int, int], list[float]] = defaultdict(list)
        self.token_s = self.per_running_s = self.per_prompt_token_s = 0.0
        self.break_off: str | None = None
        self.refuse: tuple[int, dict[str, Any]] | None = None
        self.turn_away_above = 10**6
        self.key = ""
        self.url = ""
        self.awake = asyncio.Event()
        self.awake.set()
        self._ended: Counter[str] = Counter()
        self._running = self._waiting = 0
        self._places = asyncio.Semaphore(max_num_seqs)
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, handler_cancellation=True)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._address)
        await site.start()
        self.url = f"http://{self._address[0]}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.awake.set()
        await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        awake = int(self.awake.is_set())
        counts = {reason: self._ended[reason] for reason in ("length", "abort", "error")}
        page = _PAGE.format(
            model=self.model,
            running=self._running,
            waiting=self._waiting,
            awake=awake,
            asleep=1 - awake,
            took_s=sum(counts.values()),
            **counts,
        )
        return web.Response(text=page)

    def _knows(self, request: web.Request) -> bool:
        return not self.key or request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _models(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return web.json_response({"error": "Unauthorized"}, status=401)
        return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append((request.path, asked))
        if not self._knows(request):
            return web.json_response({"error": "Unauthorized"}, status=401)
        if asked["model"] != self.model:
            error = {"message": f"The model `{asked['model']}` does not exist.", "type": "NotFoundError", "code": 404}
            return web.json_response({"error": error}, status=404)
        if self.refuse:
            self._ended["error"] += self.refuse[0] >= 500
            return web.json_response(self.refuse[1], status=self.refuse[0])
        if self._running + self._waiting >= self.turn_away_above:
            return web.json_response({"error": {"message": "overloaded", "code": 503}}, status=503)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        reason = "abort"
        try:
            await self.awake.wait()
            answer = await (self._streamed(request, asked) if asked.get("stream") else self._whole(asked))
            reason = "error" if self.break_off is not None else "length"
            return answer
        finally:
            self._running -= 1
            self._places.release()
            self._ended[reason] += 1

    async def _whole(self, asked: dict[str, Any]) -> web.Response:
        tokens = asked.get("max_tokens", 16)
        await asyncio.sleep(self.token_s * tokens)
        return web.json_response({"choices": [_choice(asked, "x" * tokens, "length", key="message")]})

    async def _streamed(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if "messages" in asked:
            await _event(response, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        tokens, prompt_tokens = asked.get("max_tokens", 16), len(str(asked.get("prompt", "")).split())
        began = time.perf_counter()
        await asyncio.sleep(self.per_prompt_token_s * prompt_tokens)
        for i in range(tokens):
            await asyncio.sleep(self.token_s + self.per_running_s * self._running)
            reason = "length" if i == tokens - 1 and self.break_off is None else None
            # in two parts, as a proxy may cut them
            await _event(response, {"choices": [_choice(asked, "x", reason, key="delta")]}, cut=7)
            waited_for = prompt_tokens if i == 0 else 0
            self.took_s[self._running, waited_for].append((now := time.perf_counter()) - began)
            began = now
            if self.break_off is not None:
                if self.break_off:
                    await _event(response, {"error": {"message": self.break_off, "code": 500}})
                return response
        if asked.get("stream_options", {}).get("include_usage"):
            await _event(
                response, {"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}}
            )
        await response.write(b"data: [DONE]\n\n")
        return response


def _choice(asked: dict[str, Any], text: str, reason: str | None, *, key: str) -> dict[str, Any]:
    said = {key: {"content": text}} if "messages" in asked else {"text": text}
    return {"index": 0, **said, "finish_reason": reason}


async def _event(response: web.StreamResponse, told: dict[str, Any], cut: int = 0) -> None:
    data = f"data: {json.dumps(told)}\n\n".encode()
    for part in (data[:cut], data[cut:]):
        if part:
            await response.write(part)
            await asyncio.sleep(0)


async def _serve(host: str, port: int, token_s: float) -> None:
    async with CompletionServer(address=(host, port)) as server:
        server.token_s = token_s
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
