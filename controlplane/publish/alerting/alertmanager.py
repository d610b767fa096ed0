"""A client of Alertmanager's API v2, for posting alerts.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from controlplane.domain.errors import UNRESOLVED, TargetUnreachableError

_TOLD_BYTES = 300
"""So much of a refusal is told."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is posted: over once `ends_at` has passed, if it is not posted again before."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float
    url: str = ""

    def body(self) -> dict[str, Any]:
        """As the API takes it."""
        found: dict[str, Any] = {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "startsAt": _rfc3339(self.starts_at),
            "endsAt": _rfc3339(self.ends_at),
        }
        return found | ({"generatorURL": self.url} if self.url else {})


class Alertmanager:
    """One Alertmanager; `url` is where its pages begin."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, alerts: Sequence[Alert]) -> None:
        """Have it take the alerts, all or none. Raises TargetUnreachableError, which says what it answered.

        Alertmanager answers 200 with an empty body; what has anything else to say is none.
        """
        if self._session is None:
            # No connection is kept: one that was given up meanwhile would look like a failure.
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        body = json.dumps([alert.body() for alert in alerts]).encode()
        headers = {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.post(
                    f"{self.url}/api/v2/alerts", data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                said = (await answer.content.read(_TOLD_BYTES)).decode("utf-8", "replace")
                if answer.status != 200 or said:
                    other = ", which is no answer of an Alertmanager's" if answer.status == 200 else ""
                    why = f"answered HTTP {answer.status}{other}: {' '.join(said.split())}"
                    raise TargetUnreachableError(self.url, why)
        except TimeoutError:
            raise TargetUnreachableError(self.url, f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientConnectorDNSError:
            raise TargetUnreachableError(self.url, UNRESOLVED) from None
        except (aiohttp.ClientError, OSError) as error:
            raise TargetUnreachableError(self.url, str(error) or type(error).__name__) from None

    async def close(self) -> None:
        """Let go of its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
