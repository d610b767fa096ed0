"""A simulated pool of vLLM-like replicas behind a gateway that sends each request to the least outstanding one."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from controlplane.sim import llm_kernel as kernel
from controlplane.sim import llm_state as layout
from controlplane.sim.results import ReplicaLife, Results
from controlplane.sim.service import LlmService
from controlplane.sim.signals import Phase, ReplicaSignals, Signals
from controlplane.sim.trace import Requests

_PHASES: dict[int, Phase] = {layout.STARTING: "starting", layout.READY: "ready", layout.DRAINING: "draining"}
_ENDS: dict[int, Literal["drained", "failed"]] = {layout.DRAINED: "drained", layout.FAILED: "failed"}
# fields of ReplicaSignals that rows of replicas have under the same name
_READ = [
    *("started_s", "ready_s", "running", "waiting", "arrived", "completed", "outstanding_s", "busy_s"),
    *("prompt_tokens", "generated_tokens", "preempted", "ttft_s_sum", "itl_s_sum"),
]


class LlmPool:
    """Replicas that batch continuously, iteration by iteration (see LlmService and llm_kernel), in virtual seconds.

    The gateway sends a request to the ready replica with the fewest outstanding, of equals to the lowest id, for good;
    while none is ready it queues, first come first served. A replica admits from its own queue in order, while there
    are fewer than `max_num_seqs` members and a whole prompt and one token fit into the KV cache. Where decoding
    outgrows the cache the newest member goes back to the front of the queue and its tokens are computed again. Nothing
    is drawn at random: the same calls give the same results to the bit, however time is cut into advances.

    With one member at a time and prefill that takes no time a replica is an M/G/1 queue. Several such are NOT M/M/c:
    waiting requests do not move to a replica that becomes free, so that waits lie between M/M/c and separate queues.

    Left out: blocks of the KV cache (tokens count one by one), prefix caching, time between iterations, and that
    decodes take longer over long contexts (see LLM_SERVICES).

    Every call takes the moment it is made, which may not lie before the last one (ValueError).
    """

    def __init__(self, service: LlmService, requests: Requests, *, replicas: int) -> None:
        """`replicas` are ready from 0 on. Raises ValueError for a request that the KV cache could never hold."""
        tokens = requests.prompt_tokens.astype(np.int64) + requests.output_tokens
        too_large = np.flatnonzero(tokens > service.kv_tokens)
        if len(too_large):
            first = too_large[0]
            raise ValueError(
                f"request {first} needs {tokens[first]} tokens of KV cache; the service has {service.kv_tokens}"
            )
        if np.any(requests.prompt_tokens < 1) or np.any(requests.output_tokens < 1):
            raise ValueError("a request without prompt or output tokens; each has at least 1")
        self._service = service
        self._now_s = 0.0
        self._replicas = 0
        self._state = layout.fresh(service, requests, max(replicas, 8))
        for _ in range(replicas):
            self._add(0.0)

    def advance(self, until_s: float) -> None:
        """Everything up to and at `until_s`."""
        if not self._now_s <= until_s < math.inf:
            raise ValueError(f"advance to {until_s} s; a moment from {self._now_s} s on, up to which all has happened")
        kernel.advance(self._state, float(until_s))
        self._now_s = until_s

    def start(self, now_s: float, ready_s: float) -> int:
        """A new replica, billed from `now_s`, that takes traffic from `ready_s` (inf: never); gives its id."""
        if not ready_s >= now_s:
            raise ValueError(f"ready at {ready_s} s, before its start at {now_s} s")
        self.advance(now_s)
        replica = self._add(ready_s)
        if ready_s <= now_s:
            self.advance(now_s)
        return replica

    def drain(self, replica: int, now_s: float) -> None:
        """It takes no new requests and ends with its last one; one that starts, or has none, ends at once."""
        row = self._living(replica, now_s)
        if row["phase"] == layout.READY and row["running"] + row["waiting"]:
            row["phase"] = layout.DRAINING
        elif row["phase"] != layout.DRAINING:
            self._end(replica, layout.DRAINED)

    def fail(self, replica: int, now_s: float) -> None:
        """It dies with all that it has made; its requests come to the gateway again, in the order of their arrival."""
        row = self._living(replica, now_s)
        state = self._state
        lost = state.seats[replica, : row["running"]]["request"].tolist()
        waiting = row["head"]
        while waiting != layout.NONE:
            lost.append(waiting)
            waiting = state.requests[waiting]["behind"]
        row["outstanding_s"] += len(lost) * (now_s - row["since_s"])
        row["running"] = row["waiting"] = 0
        self._end(replica, layout.FAILED)
        kernel.send_again(state, np.array(sorted(lost), np.int64), float(now_s))

    def signals(self, now_s: float) -> Signals:
        """What a collector could know now."""
        self.advance(now_s)
        state, gateway = self._state, self._state.gateway[0]
        live = state.live[: gateway["live"]]
        rows = state.replicas[live]
        kernel.look(rows, float(now_s))
        return Signals(
            at_s=now_s,
            queued=int(gateway["queued"]),
            arrived=int(gateway["arrived"]),
            completed=int(state.replicas["completed"].sum()),
            retried=int(gateway["retried"]),
            replicas=tuple(
                ReplicaSignals(
                    id=replica,
                    phase=_PHASES[phase],
                    kv_used_share=kv_used_share,
                    ttft_counts=ttft_counts,
                    itl_counts=itl_counts,
                    **dict(zip(_READ, row, strict=True)),
                )
                for replica, phase, row, kv_used_share, ttft_counts, itl_counts in zip(
                    live.tolist(),
                    rows["phase"].tolist(),
                    rows[_READ].tolist(),
                    (rows["kv_used"] / self._service.kv_tokens).tolist(),
                    rows["ttft_counts"],
                    rows["itl_counts"],
                    strict=True,
                )
            ),
        )

    def results(self) -> Results:
        """What came of it up to the last call."""
        asked, gateway, rows = self._state.requests, self._state.gateway[0], self._state.replicas[: self._replicas]
        in_system_s = [gateway["queued_s"], gateway["queued"] * (self._now_s - gateway["since_s"])]
        in_system_s += [
            *rows["outstanding_s"],
            *((rows["running"] + rows["waiting"]) * (self._now_s - rows["since_s"])),
        ]
        with np.errstate(invalid="ignore"):  # 0 / 0 for one token: nan
            mean_itl_s = (asked["done_s"] - asked["first_s"]) / (asked["output"] - 1)
        return Results(
            at_s=self._now_s,
            ttft_s=asked["first_s"] - asked["at_s"],
            mean_itl_s=mean_itl_s,
            e2e_s=asked["done_s"] - asked["at_s"],
            replica=asked["sent_to"].astype(np.int32),
            lives=tuple(
                ReplicaLife(replica, started_s, ready_s, ended_s, _ENDS.get(phase, "not ended"))
                for replica, (started_s, ready_s, ended_s, phase) in enumerate(
                    rows[["started_s", "ready_s", "ended_s", "phase"]].tolist()
                )
            ),
            gpus=self._service.gpus,
            in_system_s=math.fsum(in_system_s),
        )

    def _add(self, ready_s: float) -> int:
        if self._replicas == len(self._state.replicas):
            self._state = layout.with_room(self._state, 2 * self._replicas)
        gateway, replica = self._state.gateway[0], self._replicas
        row = self._state.replicas[replica]
        row["started_s"], row["ready_s"], row["since_s"] = self._now_s, ready_s, self._now_s
        self._state.live[gateway["live"]] = replica
        gateway["live"] += 1
        gateway["next_ready_s"] = min(gateway["next_ready_s"], ready_s)
        self._replicas += 1
        return replica

    def _living(self, replica: int, now_s: float) -> Any:
        self.advance(now_s)
        if not 0 <= replica < self._replicas or self._state.replicas[replica]["phase"] > layout.DRAINING:
            raise ValueError(f"replica {replica} does not run at {now_s} s")
        return self._state.replicas[replica]

    def _end(self, replica: int, phase: int) -> None:
        state, gateway, row = self._state, self._state.gateway[0], self._state.replicas[replica]
        row["phase"], row["ended_s"], row["since_s"] = phase, self._now_s, self._now_s
        row["next_s"] = math.inf
        live = state.live[: gateway["live"]]
        rest = live[live != replica]
        live[: len(rest)] = rest
        gateway["live"] = len(rest)
        starting = state.replicas[rest]["phase"] == layout.STARTING
        gateway["next_ready_s"] = np.min(state.replicas[rest]["ready_s"][starting], initial=math.inf)
