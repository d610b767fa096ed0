"""Requests to the server that is profiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.collect.http import Answer, Pages
from controlplane.collect.probes.completion import without
from controlplane.collect.probes.prober import in_words
from controlplane.domain.errors import ProfileError

_TIMEOUT_S = 120.0
_NOT_ALLOWED = {401, 403}


class ProfiledServer:
    """A server at `url`, without a trailing slash; `token` is a bearer token, empty: none."""

    def __init__(self, pages: Pages, url: str, token: str = "") -> None:
        self.url = url
        self._pages = pages
        self._token = token

    async def get(self, path: str) -> bytes:
        """Body of an answer. Raises TargetUnreachableError, MalformedPageError, ProfileError."""
        answer = await self.ask("GET", path)
        if answer.status != 200 or answer.body is None:
            raise ProfileError(f"{self.url}{path}: {self.words(answer)}")
        return answer.body

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        on_part: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """An answer whatever its status. Raises TargetUnreachableError, MalformedPageError."""
        if self._token:
            headers = {**(headers or {}), "Authorization": f"Bearer {self._token}"}
        url = f"{self.url}{path}"
        return await self._pages.ask(
            self.url, method, url, timeout_s=_TIMEOUT_S, body=body, headers=headers, on_part=on_part
        )

    def words(self, answer: Answer) -> str:
        """What an answer that is an error says, without the token."""
        words = without(self._token, in_words(answer.status, answer.body))
        return f"{words} (HTTP {answer.status}: --token-file?)" if answer.status in _NOT_ALLOWED else words
