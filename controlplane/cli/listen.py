"""A socket to listen on, or a clear line why not."""

from __future__ import annotations

import os
import socket

from controlplane.domain.errors import UNRESOLVED, ConflictError


def bind(host: str, port: int, remedy: str = "set api.host or api.port") -> socket.socket:
    """A listening socket. Raises ConflictError, which ends in `remedy`, when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else None
        # below 0 is a number of the resolver's
        why = str(error) if not number else UNRESOLVED if number < 0 else os.strerror(number)
        raise ConflictError(f"cannot listen on {host} port {port}: {why}; {remedy}") from None
    # asyncio sets it only where a socket names its protocol; without it answers wait 40 ms for an acknowledgement
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
