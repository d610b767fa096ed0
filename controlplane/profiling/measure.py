"""Drives a real server up its curve and fits what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.collect.http import Pages
from controlplane.decide.profiling import BatchPoint, Origin, TokenPoint, fit_batches, fit_tokens
from controlplane.domain.fleet import ServerKind
from controlplane.domain.profiles import Profile
from controlplane.profiling.climb import Step, climb
from controlplane.profiling.completions import ProfiledCompletions
from controlplane.profiling.server import ProfiledServer
from controlplane.profiling.triton import ProfiledTriton

MeasuredStep: TypeAlias = Step[BatchPoint] | Step[TokenPoint]
Told: TypeAlias = Callable[[MeasuredStep], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured: up to `most` requests in flight, `seconds` at each step.

    Prompts and answers of so many tokens are of servers that generate tokens. `token` is a bearer token, empty: none.
    """

    url: str
    model: str
    kind: ServerKind
    most: int
    seconds: float
    prompt_tokens: int
    output_tokens: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """Why no more steps were taken, and the profile."""

    ended: str
    profile: Profile


async def measure(wanted: Wanted, now: float, told: Told) -> Measured:
    """Measure a model; each step is told when it is done. `now` dates the profile.

    Raises TargetUnreachableError, MalformedPageError, NotFoundError, ProfileError.
    """
    # closed loops of thousands of requests a second would run out of ports with a connection for each
    pages = Pages(keep=True)
    server = ProfiledServer(pages, wanted.url, wanted.token)
    origin = Origin(f"controlplane profile {wanted.url}", now)
    try:
        if wanted.kind is ServerKind.TRITON:
            return await _triton(server, wanted, origin, told)
        return await _completions(server, wanted, origin, told)
    finally:
        await pages.close()


async def _triton(server: ProfiledServer, wanted: Wanted, origin: Origin, told: Told) -> Measured:
    model = await ProfiledTriton.of(server, wanted.model)
    steps, ended = await climb(lambda n: model.measure(n, wanted.seconds), wanted.most, told)
    points = [point for step in steps for point in step.points]
    profile = fit_batches(points, max_batch=model.max_batch, instances=model.instances, origin=origin)
    return Measured(ended, profile)


async def _completions(server: ProfiledServer, wanted: Wanted, origin: Origin, told: Told) -> Measured:
    model = await ProfiledCompletions.of(server, wanted.model, wanted.prompt_tokens, wanted.output_tokens)
    alone = await model.prefill(wanted.seconds)
    steps, ended = await climb(lambda n: model.measure(n, wanted.seconds), wanted.most, told)
    points = [point for step in steps for point in step.points]
    bounds = {"kv_tokens": model.kv_tokens, "max_num_seqs": model.max_num_seqs}
    return Measured(ended, fit_tokens(points, origin=origin, alone=alone, **bounds))
