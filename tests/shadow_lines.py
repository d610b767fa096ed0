"""Lines for `controlplane decide` from a small load on pages of a real vLLM, with its counters moved on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parent / "pages/vllm-0.32.0-under-load.txt").read_text(encoding="utf-8")
CONFIG = """
workloads:
  - {name: llama, kind: vllm, kubernetes: {kind: Deployment, namespace: ml, name: llama}, replicas: {min: 1, max: 20}}
models:
  - name: llama-8b
    served_name: tiny
    runs_on: [llama]
    objectives:
      - {ttft: 1s, target: 99%, window: 28d}
      - {inter_token_latency: 50ms, target: 99%, window: 28d}
"""
LINE_S = 15.0
PROMPT, OUTPUT = 500.0, 100.0
BASE_S, PER_RUNNING_S, PER_PROMPT_S = 0.01, 2e-4, 4e-5
"""An iteration takes BASE_S and PER_RUNNING_S a request; prompts PER_PROMPT_S a token."""
STARTUP_S = 90.0


@dataclass
class Replica:
    """One vLLM under a steady share of the load: requests that came since it began, and those that run now."""

    name: str
    started_at: float
    ready_at: float
    served: float = 0.0
    running: float = 0.0

    def serve(self, per_s: float, seconds: float) -> None:
        """The mean of M/G/PS: so many run as the equation of decide/replicas/tokens.py says."""
        per_s = min(per_s, 0.95 / (PER_PROMPT_S * PROMPT + PER_RUNNING_S * OUTPUT))
        left = 1 - per_s * (PER_PROMPT_S * PROMPT + PER_RUNNING_S * OUTPUT)
        self.served += per_s * seconds
        self.running = BASE_S * per_s * OUTPUT / left

    def page(self) -> str:
        """Its metrics page."""
        count = float(int(self.served))
        values = {
            "num_requests_running": round(self.running),
            "num_requests_waiting": 0,
            "prompt_tokens_total": count * PROMPT,
            "generation_tokens_total": count * OUTPUT,
            "e2e_request_latency_seconds_sum": count,
            "request_queue_time_seconds_sum": 0.0,
            "request_success_total": count,
        }
        return with_values(values)


_MOVED = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|prompt_tokens_total|generation_tokens_total"
    r"|e2e_request_latency_seconds_sum|request_queue_time_seconds_sum|request_success_total)"
    r"({[^}]*}) (.*)$",
    re.MULTILINE,
)
_PARTS = _MOVED.split(PAGE)
"""Text, name, labels, value, text..."""


def with_values(values: Mapping[str, float]) -> str:
    """The page with these values of series; of ended requests those that were answered in full."""
    parts = list(_PARTS)
    for index in range(1, len(parts), 4):
        name, labels = parts[index], parts[index + 1]
        other = name == "request_success_total" and 'finished_reason="stop"' not in labels
        parts[index], parts[index + 2] = f"vllm:{name}", f" {0.0 if other else values[name]}"
    return "".join(parts)


class Fleet:
    """Replicas that follow what is answered, under `load` requests a second at a time."""

    def __init__(self, load: Callable[[float], float], replicas: int = 2, now: float = 0.0) -> None:
        self.now = now
        self._load = load
        self._replicas = [Replica(f"pod-{i}", now - 1000.0, now - 900.0) for i in range(replicas)]
        self._made = replicas

    def line(self) -> dict[str, Any]:
        """What is there now."""
        servers = [
            {
                "name": replica.name,
                "workload": "llama",
                "state": "ready" if replica.ready_at <= self.now else "starting",
                "started_at": replica.started_at,
                "page": replica.page() if replica.ready_at <= self.now else None,
            }
            for replica in self._replicas
        ]
        return {"now": self.now, "workloads": ["llama"], "servers": servers}

    def follow(self, desired: int) -> None:
        """Have so many replicas from now on, and let the time to the next line pass."""
        while len(self._replicas) < desired:
            self._replicas.append(Replica(f"pod-{self._made}", self.now, self.now + STARTUP_S))
            self._made += 1
        del self._replicas[desired:]
        ready = [replica for replica in self._replicas if replica.ready_at <= self.now]
        for replica in ready:
            replica.serve(self._load(self.now) / len(ready), LINE_S)
        self.now += LINE_S


def conversation(fleet: Fleet, answer: Callable[[str], Mapping[str, Any]], lines: int) -> Iterator[Mapping[str, Any]]:
    """What so many lines are answered with, each carried out."""
    for _ in range(lines):
        answered = answer(json.dumps(fleet.line()))
        yield answered
        fleet.follow(answered["desired"]["llama"])
