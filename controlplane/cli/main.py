"""The command line. Exit codes: 0 ok, 1 the thing asked failed, 2 usage or configuration."""

from __future__ import annotations

from collections.abc import Sequence

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

# The root of what is raised on a command line that is not understood. Newer versions of typer carry a copy of click,
# older ones use click itself; both name it only through its children.
_CommandLineError: type[typer.BadParameter] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help="Observability and autoscaling control plane for GPU model serving.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
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
app.add_typer(mig.app, name="mig")
simulate.register(app)
backtest.register(app)
decide.register(app)
dashboards_push.register(dashboards.app)
app.add_typer(dashboards.app, name="dashboards")
app.add_typer(token.app, name="token")
app.add_typer(db.app, name="db")


def execute(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code. Faults become a line on standard error, never a traceback."""
    command = typer.main.get_command(app)
    try:
        return int(command(list(arguments), prog_name="controlplane", standalone_mode=False) or OK)
    except typer.Abort:
        return FAILED
    except ConfigurationError as error:
        complain(error)
        return USAGE
    except RefusedError as error:
        complain(error)
        # what the API calls malformed was malformed on the command line
        return USAGE if error.status == 422 else FAILED
    except ControlPlaneError as error:
        complain(error)
        return FAILED
    except _CommandLineError as error:
        complain(f"{error.format_message().rstrip('.')}. See `controlplane --help`.")
        return USAGE
