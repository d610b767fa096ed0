"""The command line. Exit codes: 0 ok, 1 the thing asked failed, 2 usage or configuration."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from controlplane.cli import (
    agent,
    alerts,
    backtest,
    check,
    dashboards,
    dashboards_push,
    db,
    decide,
    decisions,
    demo,
    event,
    freeze,
    mig,
    mig_apply,
    mig_copy,
    model,
    profile,
    rules,
    run,
    simulate,
    slo,
    slo_import,
    status,
    token,
    workload,
)
from controlplane.cli.client import RefusedError
from controlplane.cli.output import complain
from controlplane.domain.errors import ConfigurationError, ControlPlaneError

OK, FAILED, USAGE = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT
_OF_OUTPUT = frozenset({errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EDQUOT})

# The root of what is raised on a command line that is not understood. Newer versions of typer carry a copy of click,
# older ones use click itself; both name it only through its children.
_CommandLineError: type[typer.BadParameter] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help="Observability and autoscaling control plane for GPU model serving.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from controlplane.version import VERSION

        print(f"controlplane {VERSION}")
        raise typer.Exit


@app.callback()
def _of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print which version this is.")
    ] = False,
) -> None:
    pass


for commands in (run, agent, demo, check, rules, status, alerts):
    commands.register(app)
app.add_typer(model.app, name="model")
workload.register(app)
for commands in (freeze, decisions):
    commands.register(app)
app.add_typer(event.app, name="event")
slo_import.register(slo.app)
app.add_typer(slo.app, name="slo")
app.add_typer(profile.app, name="profile")
mig_apply.register(mig.app)
mig_copy.register(mig.app)
app.add_typer(mig.app, name="mig")
simulate.register(app)
backtest.register(app)
decide.register(app)
dashboards_push.register(dashboards.app)
app.add_typer(dashboards.app, name="dashboards")
app.add_typer(token.app, name="token")
app.add_typer(db.app, name="db")


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _misunderstood(error: typer.BadParameter) -> str:
    """What is wrong with the command line, and where its usage stands."""
    from pydantic import ValidationError

    from controlplane.config.faults import allowed, shown

    told = error.format_message().rstrip(".")
    if isinstance(error.__cause__, ValidationError):  # newer versions of typer ask pydantic, which tells no value
        found = error.__cause__.errors(include_url=False)[0]
        told = f"{told.removesuffix(error.message.rstrip('.'))}{shown(found['input'])} is not allowed; {allowed(found)}"
    stop = "" if told.endswith("?") else "."
    return f"{told}{stop} See `{error.ctx.command_path if error.ctx else 'controlplane'} --help`."


def _unwritten(error: OSError) -> int:
    """A full disk behind standard output is told; who reads no more from a pipe knows it."""
    if error.errno != errno.EPIPE:
        complain(f"the output cannot be written: {error.strerror}")
    # what is left in the buffer would be tried again at the end
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _told(error: Exception) -> int:
    """The exit code of what went wrong, which is told."""
    if isinstance(error, OSError):
        return _unwritten(error)
    if isinstance(error, _CommandLineError):
        complain(_misunderstood(error))
        return USAGE
    if not isinstance(error, typer.Abort):
        complain(error)
    # what the API calls malformed was malformed on the command line
    malformed = isinstance(error, ConfigurationError) or (isinstance(error, RefusedError) and error.status == 422)
    return USAGE if malformed else FAILED


def execute(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code. Faults become a line on standard error, never a traceback."""
    if (odd := next((a for a in arguments if not _is_text(a)), None)) is not None:
        complain(f"argument {odd!a} is not allowed; text in UTF-8. See `controlplane --help`.")
        return USAGE
    try:
        command = typer.main.get_command(app)
        code = int(command(list(arguments), prog_name="controlplane", standalone_mode=False) or OK)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OF_OUTPUT:
            raise
        return _told(error)
    except (typer.Abort, ControlPlaneError, _CommandLineError) as error:
        return _told(error)
    except KeyboardInterrupt:  # outside of a command; inside, typer makes an exit of it
        return INTERRUPTED
    return code
