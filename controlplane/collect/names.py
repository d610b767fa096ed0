"""Host names -> addresses, without threads: however many look-ups hang, no other one waits for them."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import ResolveResult


class Names(aiohttp.AsyncResolver):
    """What /etc/hosts and the name servers tell, without addresses to which there is no way from here.

    For `localhost` there is always ::1 too. Where IPv6 is off, its error would hide that nobody listens on 127.0.0.1.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a host. Raises OSError."""
        found = await super().resolve(host, port, family)
        return [address for address in found if _can_be_reached(address)] or found


def _can_be_reached(address: ResolveResult) -> bool:
    """Whether there is a route; nothing is sent (RFC 6724, rule 1 of section 6)."""
    try:
        with socket.socket(socket.AddressFamily(address["family"]), socket.SOCK_DGRAM) as probe:
            probe.connect((address["host"], address["port"] or 1))
    except OSError:
        return False
    return True
