"""A bearer token out of its file."""

from __future__ import annotations

from pathlib import Path


def read_token(file: str) -> str:
    """The token, read anew for each request, since tokens are changed while we run.

    Raises ValueError, which says what is wrong with the file and nothing of what is in it.
    """
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ValueError(f"token_file {file} cannot be read: {why}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"token_file {file} must hold one token, and nothing else")
    return token
