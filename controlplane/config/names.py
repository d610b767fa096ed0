"""Servers and workloads by their names, where `*` stands for anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase

from controlplane.config.faults import join, one_of
from controlplane.domain.errors import Fault


def expand(patterns: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The names that at least one pattern matches, in their own order; `*` stands for anything."""
    wanted = [_literal(pattern) for pattern in patterns]
    return tuple(dict.fromkeys(name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)))


def check_names(patterns: Iterable[str], path: str, names: Collection[str]) -> Iterator[Fault]:
    """A fault for every pattern of the list at `path` that no server or workload matches."""
    for i, pattern in enumerate(patterns):
        if expand([pattern], names):
            continue
        if "*" in pattern:
            allowed = f"a pattern that matches a server or workload: {', '.join(names)}"
        else:
            allowed = f"the name of a server or workload: {one_of(pattern, tuple(names))}"
        yield Fault(join(path, i), repr(pattern), allowed)


def _literal(pattern: str) -> str:
    """Only `*` is special; fnmatch's other signs are not."""
    return pattern.replace("[", "[[]").replace("?", "[?]")
