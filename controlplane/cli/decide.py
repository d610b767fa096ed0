"""controlplane decide: the real decisions for whoever tells what there is, line by line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.options import Config
from controlplane.domain.errors import ConfigurationError, Fault, MalformedLineError, PermanentError, StoreError

if TYPE_CHECKING:
    from controlplane.config import Settings
    from controlplane.shadow.session import Session

_SAVE_EVERY_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("decide")(decide)


def decide(
    *,
    config: Config,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="Read lines from standard input; required.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="File to go on from, and to keep what is learned in; FILE.db has the history of objectives."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 at the first line at fault.")] = False,
) -> None:
    """Answer each line of JSON that tells what there is with a line of JSON that says what should be.

    Nothing else is read and nothing is carried out.
    """
    from controlplane.cli import logs
    from controlplane.config import load_settings
    from controlplane.shadow.session import Session

    if not from_stdin:
        raise ConfigurationError("command line", (Fault("--stdin", "nothing", "it is required"),))
    logs.configure(logging.ERROR)
    settings = load_settings(config)
    session = Session(settings) if state is None else _resumed(settings, state)
    with asyncio.Runner() as runner:
        try:
            _converse(runner, session, state, strict=strict)
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # nobody reads any more; Python would complain of what is left to write when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            _save(runner, session, state)
            session.close()


def _converse(runner: asyncio.Runner, session: Session, state: Path | None, *, strict: bool) -> None:
    saved_at = None
    for number, text in _lines():
        try:
            answer = runner.run(session.answer(text))
        except MalformedLineError as error:
            _print({"error": {"line": number, "message": str(error)}})
            if strict:
                raise typer.Exit(1) from None
            continue
        _print(answer)
        saved_at = session.now if saved_at is None else saved_at
        if session.now - saved_at >= _SAVE_EVERY_S:
            _save(runner, session, state)
            saved_at = session.now


def _lines() -> Iterator[tuple[int, str]]:
    """Lines that are not empty, by number. What is no UTF-8 has marks in its place."""
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
        text = line.decode("utf-8-sig", errors="replace").strip()
        if text:
            yield number, text


def _print(document: Any) -> None:
    """In ASCII: whatever the terminal's encoding, and halves of surrogate pairs too."""
    print(json.dumps(document, allow_nan=False), flush=True)


def _resumed(settings: Settings, path: Path) -> Session:
    """A session that goes on from what is kept; without a state the history beside it is of something else."""
    from controlplane.cli.files import text_of
    from controlplane.shadow.session import KEPT, Kept, Session

    text, history = text_of(path), path.with_name(f"{path.name}.db")
    try:
        kept = Kept() if text is None else KEPT.load(text)
    except StoreError:
        raise PermanentError(f"{path}: not a state that `controlplane decide` has kept") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm") if text is None else ():
            history.with_name(f"{history.name}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror}") from None
    return Session(settings, kept, history=history)


def _save(runner: asyncio.Runner, session: Session, path: Path | None) -> None:
    from controlplane.cli.files import write_all
    from controlplane.shadow.session import KEPT

    if path is not None:
        write_all({path: KEPT.dump(runner.run(session.keep()))})
