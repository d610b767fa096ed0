"""Names and patterns of names."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def expand(patterns: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The names that at least one pattern matches, in their own order; `*` stands for anything."""
    wanted = [_literal(pattern) for pattern in patterns]
    return tuple(dict.fromkeys(name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)))


def _literal(pattern: str) -> str:
    """Only `*` is special; fnmatch's other signs are not."""
    return pattern.replace("[", "[[]").replace("?", "[?]")
