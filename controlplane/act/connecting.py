"""Why nobody was found at an address, in a few words."""

from __future__ import annotations

import os
import ssl

import aiohttp

from controlplane.domain.errors import UNRESOLVED, no_tls


def why_not(error: Exception) -> str:
    """What happened to a connection, of what aiohttp or the system raised."""
    if isinstance(error, aiohttp.InvalidURL):
        return "its URL is not valid"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UNRESOLVED
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError):
        return no_tls(cause)
    number = getattr(cause, "errno", None)
    # below 0 is a number of the resolver's
    return os.strerror(number).lower() if number and number > 0 else str(error) or type(error).__name__
