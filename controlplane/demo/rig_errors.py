"""What can go wrong around the rig."""

from __future__ import annotations

from controlplane.domain.errors import PermanentError, TransientError


class RigUnavailableError(PermanentError):
    """A machine that cannot run the rig; its message says why and what would do instead."""


class RigError(TransientError):
    """The rig should run here but did not start, answer or stop in time; the message ends with the server's own log."""
