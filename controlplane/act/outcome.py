"""What came of a step, whatever happened in it: the same for every kind of server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from controlplane.act.failure_table import UNKNOWN_REMEDY, UNREACHABLE_REMEDY
from controlplane.domain.decision import Action, ActionStatus, Outcome
from controlplane.domain.errors import ActionError, ControlPlaneError, NotLeadingError, TargetUnreachableError
from controlplane.domain.failures import FailureClass

_NOT_LEADING_REMEDY = "none needed: whoever leads goes on from what the servers show"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A step that succeeded."""

    detail: str
    in_place: bool | None = None


async def outcome_of(action: Action, step: Awaitable[Done], clock: Callable[[], float]) -> Outcome:
    """The outcome of `step`, which carries out `action`. Raises nothing, whatever a server answers."""

    def failed(detail: str, failure: FailureClass, remedy: str) -> Outcome:
        text = detail.encode("utf-8", "replace").decode()  # JSON may hold half of a surrogate pair, which no answer can
        return Outcome(action, ActionStatus.FAILED, clock(), text, failure, remedy)

    try:
        done = await step
    except ActionError as error:
        return failed(str(error), error.failure, error.remedy)
    except TargetUnreachableError as error:
        return failed(str(error), FailureClass.UNREACHABLE, UNREACHABLE_REMEDY)
    except NotLeadingError as error:
        return failed(str(error), FailureClass.SUPERSEDED, _NOT_LEADING_REMEDY)
    except ControlPlaneError as error:
        return failed(str(error), FailureClass.UNKNOWN, "correct the configuration")
    except Exception as error:  # noqa: BLE001 (whatever a server answers, the loop goes on)
        _log.exception("step failed unexpectedly", model=action.model, server=action.server, step=action.step)
        return failed(f"{type(error).__name__}: {error}", FailureClass.UNKNOWN, UNKNOWN_REMEDY)
    return Outcome(action, ActionStatus.SUCCEEDED, clock(), done.detail, in_place=done.in_place)
