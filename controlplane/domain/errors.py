"""The exception tree.

    ControlPlaneError
    ├── TransientError                 trying again later may help
    │   ├── TargetUnreachableError     no answer, refused, timed out
    │   ├── NotToldError               what tells of a target tells nothing of it now
    │   ├── StoreBusyError             the database is locked or away
    │   └── NotLeadingError            another control plane has the database now
    └── PermanentError                 the same call will fail again
        ├── ConfigurationError         carries every Fault found
        ├── NotFoundError              a name nobody knows
        ├── ConflictError              the request contradicts the state of things
        ├── MalformedPageError         a page that is not what it should be
        ├── MalformedLineError         a line of input that is not what it should be
        ├── QueryRefusedError          a Prometheus does not take a query: it is wrong, or we have no access
        ├── ProfileError               a server or an export from which no profile can be made
        ├── GrafanaRefusedError        a Grafana does not take something, or is none
        ├── StoreError                 disk full, read-only, corrupt, wrong schema
        └── ActionError                a server refused an action; carries FailureClass and remedy

Messages are for people: they name the thing, the value and what is allowed, and never hold a secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.failures import FailureClass


class ControlPlaneError(Exception):
    """Root of every error this package raises on purpose."""


class TransientError(ControlPlaneError):
    """Trying again later may help."""


class PermanentError(ControlPlaneError):
    """The same call will fail again."""


UNRESOLVED = "its host name does not resolve"
"""`why` of a TargetUnreachableError where no name server knows the host."""


def no_tls(error: Exception) -> str:
    """The same where no TLS connection came about, of the ssl.SSLError that tells why."""
    if refused := getattr(error, "verify_message", ""):
        return f"no TLS connection: its certificate is not accepted ({refused})"
    reason = str(getattr(error, "reason", None) or "no reason was told")
    return f"no TLS connection ({reason.lower().replace('_', ' ')})"


class TargetUnreachableError(TransientError):
    """A server, page or API gave no usable answer in time.

    `target` names it, `why` says what happened in a few words.
    """

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"{target}: {why}")
        self.target = target
        self.why = why


class NotToldError(TransientError):
    """What tells of a server, such as a Prometheus, tells nothing of it now; the server itself may be well."""


class StoreBusyError(TransientError):
    """The database is locked or away; the write was not made."""


class NotLeadingError(TransientError):
    """Another control plane has the database now: this one writes and does nothing until it has it again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration: where it is, what stands there, what may stand there.

    `sentence` tells it in place of these to people, where they would make none.
    """

    path: str
    value: str
    allowed: str
    sentence: str = ""

    def __str__(self) -> str:
        return self.sentence or f"{self.path}: {self.value} is not allowed; {self.allowed}"


class ConfigurationError(PermanentError):
    """A configuration with at least one fault; `faults` holds them all."""

    def __init__(self, source: str, faults: tuple[Fault, ...]) -> None:
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"{source}: {len(faults)} fault{'s' if len(faults) != 1 else ''}\n{lines}")
        self.source = source
        self.faults = faults


class NotFoundError(PermanentError):
    """A name nobody knows; `known` lists what there is."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...] = ()) -> None:
        hint = f"; known: {', '.join(known)}" if known else ""
        super().__init__(f"no {kind} named {name!r}{hint}")
        self.kind = kind
        self.name = name


class ConflictError(PermanentError):
    """The request contradicts the state of things, such as a load on a server in observe mode."""


class MalformedPageError(PermanentError):
    """A page that is not what its source should give (truncated, garbage, HTML)."""


class AnswerTooLargeError(MalformedPageError):
    """An answer that is larger than what is read, or than what a Prometheus gives: ask for less at a time."""


class MalformedLineError(PermanentError):
    """A line of input that is not what it should be; says what is wrong and what is allowed."""


class QueryRefusedError(PermanentError):
    """A Prometheus does not take a query: the query is wrong, we have no access, or there is no such API."""


class ProfileError(PermanentError):
    """A server or an export from which no profile of a model can be made: refused, too few points, contradictions."""


class GrafanaRefusedError(PermanentError):
    """A Grafana does not take what it is asked: no access, somebody else's, changed meanwhile, or it is no Grafana."""


class StoreError(PermanentError):
    """The database refused for a reason that waiting does not mend (disk full, read-only, corrupt, schema)."""


class ActionError(PermanentError):
    """A server refused an action; says which class of failure it is and what to do."""

    def __init__(self, message: str, failure: FailureClass, remedy: str) -> None:
        super().__init__(message)
        self.failure = failure
        self.remedy = remedy
