"""Options that several commands share."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from controlplane.cli.client import Api
from controlplane.domain.errors import ConfigurationError, Fault

DEFAULT_URL = "http://127.0.0.1:8900"
DEFAULT_CONFIG = Path("controlplane.yaml")

Url = Annotated[str, typer.Option("--url", envvar="CONTROLPLANE_URL", help="Address of the control plane.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="CONTROLPLANE_TOKEN_FILE",
        help="File that holds the bearer token; CONTROLPLANE_TOKEN holds the token itself.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Ttl = Annotated[str, typer.Option("--for", help="How long it holds, such as 30m or 2h.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; shown to everybody and kept.")]
Config = Annotated[Path, typer.Option("--config", envvar="CONTROLPLANE_CONFIG", help="The configuration file.")]


_BELOW_ZERO = re.compile(r"-[0-9.]+")


class NumberCommand(TyperCommand):
    """A command with numbers as arguments: one below zero is refused as that number, and not as an unknown option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that are left over."""
        ctx.ignore_unknown_options = any(_BELOW_ZERO.fullmatch(argument) for argument in args)
        return super().parse_args(ctx, args)


def api_of(url: str, token_file: Path | None) -> Api:
    """A client with the token of CONTROLPLANE_TOKEN, else of the file, else none."""
    token = os.environ.get("CONTROLPLANE_TOKEN", "")
    if not token and token_file is not None:
        try:
            token = token_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            fault = Fault("--token-file", str(token_file), "a readable file that holds one token is allowed")
            raise ConfigurationError("command line", (fault,)) from None
    token = token.strip()
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigurationError("command line", (Fault("token", "what was given", "one token is allowed"),))
    return Api(url, token)
