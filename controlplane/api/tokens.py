"""Bearer tokens, kept as hashes: one JSON object a line with name, sha256, scope and expires_at (RFC 3339 or null).

A token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from controlplane.domain.errors import ConfigurationError, ConflictError, Fault

_PREFIX = "cp_"
_BYTES = 32
_NAME_MAX = 64


class Scope(StrEnum):
    """What a token may do; each scope may do what those before it may."""

    VIEWER = "viewer"
    """Read."""
    OPERATOR = "operator"
    """Instruct: load, unload, instances, overrides, freezes."""
    ADMIN = "admin"
    """Everything, the audit log included."""

    def allows(self, needed: Scope) -> bool:
        """Whether this scope covers `needed`."""
        order = tuple(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file. `expires_at` in unix seconds, None: never."""

    name: str
    sha256: str
    scope: Scope
    expires_at: float | None

    def to_line(self) -> str:
        """The line of the file, without its end."""
        expires = None if self.expires_at is None else datetime.fromtimestamp(self.expires_at, UTC).isoformat()
        return json.dumps({"name": self.name, "sha256": self.sha256, "scope": self.scope.value, "expires_at": expires})


class TokenFile:
    """The tokens of a file, read again whenever the file changes.

    A file that cannot be used (unreadable, malformed, writable by others) lets nobody in: every look raises
    ConfigurationError until it is mended.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def find(self, presented: str) -> Token | None:
        """The token that was presented, None when there is none such or it ran out.

        Every hash is compared, each in constant time, so that the time taken tells nothing about any of them.
        """
        digest = hashlib.sha256(presented.encode()).hexdigest()
        found: Token | None = None
        for token in self.tokens():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock()):
            return None
        return found

    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the file as it is now. Raises ConfigurationError."""
        with _usable(self._path):
            info = self._path.stat()
            key = (info.st_mtime_ns, info.st_ino, info.st_size)
            if key != self._seen or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                self._seen = None
                self._tokens = parse_tokens(_text(self._path, info.st_mode), str(self._path))
                self._seen = key
        return self._tokens


def parse_tokens(text: str, source: str) -> tuple[Token, ...]:
    """The tokens of a file's text. Raises ConfigurationError naming every bad line, never its content."""
    tokens: list[Token] = []
    faults: list[Fault] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            token = _token(json.loads(line), {other.name for other in tokens})
        except (ValueError, TypeError, KeyError) as error:
            allowed = "keys name, sha256, scope, expires_at are allowed" if isinstance(error, KeyError) else str(error)
            if isinstance(error, json.JSONDecodeError):
                allowed = "one JSON object is allowed"
            faults.append(Fault(f"line {number}", "this entry", allowed))
        else:
            tokens.append(token)
    if faults:
        raise ConfigurationError(source, tuple(faults))
    return tuple(tokens)


def create_token(path: Path, name: str, scope: Scope, expires_at: float | None) -> str:
    """Make a token, append its hash to the file (made with mode 0600 if need be) and give the secret, kept nowhere.

    Raises ConflictError when the name is taken or not allowed, ConfigurationError when the file cannot be used.
    """
    if not name or len(name) > _NAME_MAX or not name.isprintable():
        raise ConflictError(f"token name {name!r}: allowed are 1 to {_NAME_MAX} printable characters")
    with _usable(path, "its folder must exist and be writable, and a file there hold token hashes"):
        text = _text(path, path.stat().st_mode) if path.exists() else ""
        if any(token.name == name for token in parse_tokens(text, str(path))):
            raise ConflictError(f"a token named {name!r} is in {path} already; choose another name")
        secret = _PREFIX + secrets.token_urlsafe(_BYTES)
        token = Token(name, hashlib.sha256(secret.encode()).hexdigest(), scope, expires_at)
        if text and not text.endswith("\n"):
            text += "\n"
        _replace(path, f"{text}{token.to_line()}\n")
    return secret


@contextmanager
def _usable(
    path: Path, allowed: str = "a readable file of token hashes, as `controlplane token create` makes it"
) -> Iterator[None]:
    """Turn what the system says about the file into a ConfigurationError."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
        raise _fault(str(path), "the file", why, allowed) from None


def _text(path: Path, mode: int) -> str:
    """The text of the file. Raises OSError and ConfigurationError; a pipe would keep whoever reads it waiting."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(None, "Not a regular file")
    _check_mode(path, mode)
    return path.read_text(encoding="utf-8")


def _replace(path: Path, text: str) -> None:
    """Write the file in one step: a new one for its owner only, one that was there with the owner and mode it had.

    The service that reads it may be another user than who makes tokens, and must not lose sight of all of them.
    """
    before = path.stat() if path.exists() else None
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if before is not None:
                os.fchmod(handle, stat.S_IMODE(before.st_mode))
                with suppress(PermissionError):  # only root may give a file to somebody else
                    os.fchown(handle, before.st_uid, before.st_gid)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _token(entry: Any, taken: set[str]) -> Token:
    if not isinstance(entry, dict):
        raise TypeError("one JSON object is allowed")
    name, digest, scope, expires = entry["name"], entry["sha256"], entry["scope"], entry.get("expires_at")
    if not isinstance(name, str) or not name:
        raise ValueError("a name is needed")
    if name in taken:
        raise ValueError("names that are unique are allowed")
    if not isinstance(digest, str) or len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
        raise ValueError("a sha256 of 64 hexadecimal digits is allowed")
    if scope not in tuple(Scope):
        raise ValueError(f"scopes {', '.join(Scope)} are allowed")
    return Token(name, digest.lower(), Scope(scope), None if expires is None else _moment(expires))


def _moment(text: Any) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError("expires_at as an RFC 3339 time or null is allowed") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_mode(path: Path, mode: int) -> None:
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _fault(
            str(path), "mode", f"{stat.S_IMODE(mode):04o}", f"only its owner may write it; chmod 600 {path} mends it"
        )


def _fault(source: str, path: str, value: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(source, (Fault(path or source, value, allowed),))
