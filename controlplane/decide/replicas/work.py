"""A workload's demand in replicas: how many would be used up by what arrives, inside the objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controlplane.decide.capacity import Capacity
from controlplane.decide.replicas.flow import Flow, flow
from controlplane.decide.replicas.tokens import TokenGoal, TokenService, itl_room, kv_replicas, ttft_room
from controlplane.domain.observation import Interval

LEVEL_S = 60.0
"""Demand is foretold by what arrived in so long."""
NEWEST_S = 15.0
"""What was foretold is judged by the demand of so long: a replica bridges that much by waiting."""
MIX_S = 300.0
"""What one request takes is learned over so long: it changes slowly, and few requests tell it badly."""


# A tail bound triples what is asked for where the prompt time is learned half too long: it counts for so much at most.
_FIRST_MOST = 1.5
# A mean wait of this part of what a server by itself would make shows that it is not by itself.
_ALONE = 0.5
# A server that is busier tells nothing of how requests are spread.
_TELLS = 0.9


@dataclass(frozen=True, slots=True)
class Work:
    """Demand in replicas as in DemandPoint; `per_replica_per_s`: arrivals that one replica holds.

    `waiting_replicas`: what the requests that wait beyond one a server would take of replicas for one second.
    `over`: requests wait, or tokens come slower than the objective allows. `binds` names what a replica runs out of.
    """

    level: float
    newest: float
    arrivals_per_s: float
    per_replica_per_s: float
    waiting_replicas: float = 0.0
    over: bool = False
    binds: str = ""


def token_work(
    servers: Mapping[str, Sequence[Interval]],
    kv_usages: Sequence[float],
    service: TokenService,
    goal: TokenGoal,
    now: float,
) -> Work:
    """Of vLLM-like servers. What binds most counts: time between tokens, first tokens, or the KV cache."""
    level, newest, mix = (flow(servers.values(), now - length_s) for length_s in (LEVEL_S, NEWEST_S, MIX_S))
    # without any arrival in so long, as if there had been one
    by_request = max(mix.arrivals_per_s, 1 / MIX_S)
    output, prompt_s = mix.generation_per_s / by_request, service.prompt_s(mix.prompt_per_s / by_request)
    per_request_s = prompt_s + service.per_running_s * output
    room, first_room = itl_room(service, goal), ttft_room(prompt_s, goal)
    itl_s = newest.running / newest.generation_per_s if newest.generation_per_s > 0 else 0.0
    over = newest.waiting > newest.servers or (goal.itl_s is not None and itl_s > goal.itl_s)

    def by_time(seen: Flow) -> float:
        """Decoding counts as it came where answers are short, as it is done where they last longer than the window."""
        lasts_s = output * (goal.itl_s or itl_s)
        share = LEVEL_S / (LEVEL_S + lasts_s)
        comes, goes = seen.arrivals_per_s * output, seen.generation_per_s
        decoded = share * comes + (1 - share) * goes
        # what a full replica does is no more than it can
        decoded = max(decoded, comes) if over else decoded
        return (seen.arrivals_per_s * prompt_s + service.per_running_s * decoded) / room

    first_s = min(prompt_s / first_room, _FIRST_MOST * per_request_s / room)
    by_cache = kv_replicas(kv_usages)

    def all_of(seen: Flow) -> float:
        return max(by_time(seen), seen.arrivals_per_s * first_s, by_cache)

    parts = {"time": by_time(level), "first_token": level.arrivals_per_s * first_s, "kv_cache": by_cache}
    waiting = max(0.0, newest.waiting - newest.servers)
    return Work(
        level=all_of(level),
        newest=all_of(newest),
        arrivals_per_s=level.arrivals_per_s,
        per_replica_per_s=1 / max(per_request_s / room, first_s, 1e-9),
        waiting_replicas=waiting * per_request_s / room,
        over=over,
        binds=max(parts, key=lambda part: parts[part]),
    )


def batch_work(
    servers: Mapping[str, Sequence[Interval]], capacity: Capacity, instances: int, room: int, now: float
) -> Work:
    """Of Triton-like servers with so many instances each; one executes at most `room` requests at a time."""
    level, newest = (flow(servers.values(), now - length_s) for length_s in (LEVEL_S, NEWEST_S))
    count = len(servers) if _one_queue(servers, capacity, instances, now) else 1
    per_s = max(capacity.per_s(instances * count) / count, 1e-9)
    waiting = max(0.0, newest.waiting - newest.servers * room)
    return Work(
        level=level.arrivals_per_s / per_s,
        newest=newest.arrivals_per_s / per_s,
        arrivals_per_s=level.arrivals_per_s,
        per_replica_per_s=per_s,
        waiting_replicas=waiting / max(capacity.limit_per_s(instances), 1e-9),
        over=waiting > 0,
        binds="time",
    )


def _one_queue(servers: Mapping[str, Sequence[Interval]], capacity: Capacity, instances: int, now: float) -> bool:
    """Whether requests wait about as they would for all servers together, not as they would for one of many by itself.

    That is what a gateway does that sends each to the server with the fewest outstanding. It shows in the mean wait,
    which is that of M/D/c (see decide/queueing.py). Where nothing waits that would by itself, there is such a gateway.
    """
    service_s = capacity.curve.line(instances).service_s(1)
    done = covered_s = queue_s = 0.0
    for interval in (i for intervals in servers.values() for i in intervals if i.end > now - MIX_S):
        # where more comes than is served the wait tells of that only
        if interval.completed * service_s < _TELLS * instances * interval.length_s:
            done, covered_s = done + interval.completed, covered_s + interval.length_s
            queue_s += interval.queue_s
    if done <= 0:
        return True
    load = done * service_s / covered_s / instances
    alone_s = load * service_s / (2 * instances * (1 - load))
    return queue_s / done < _ALONE * alone_s


def together(works: Sequence[Work]) -> Work | None:
    """The models of one workload, which share its servers' time; None where there is none."""
    if len(works) <= 1:
        return works[0] if works else None
    heaviest = max(works, key=lambda work: work.level)
    arrivals_per_s, level = sum(w.arrivals_per_s for w in works), sum(w.level for w in works)
    return Work(
        level=level,
        newest=sum(w.newest for w in works),
        arrivals_per_s=arrivals_per_s,
        per_replica_per_s=arrivals_per_s / level if level > 0 else heaviest.per_replica_per_s,
        waiting_replicas=sum(w.waiting_replicas for w in works),
        over=any(w.over for w in works),
        binds=heaviest.binds,
    )
