"""Where the metrics of a server come from: from its own page, or from elsewhere, read as if it were its page."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from controlplane.collect.exposition import Page, PageReader
from controlplane.collect.http import Pages


@dataclass(frozen=True, slots=True)
class Metrics:
    """The wanted samples of one target as they were at `at`, in our clock.

    `text` is the page as scraped; empty where the samples come from elsewhere, which keeps no comments.
    """

    at: float
    samples: Page
    text: str = ""


class MetricsSource(Protocol):
    """Gives one target's metrics."""

    async def metrics(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """The newest metrics. Raises TargetUnreachableError, NotToldError, MalformedPageError.

        May give the same ones (the same `at`) again: nothing is new then.
        """
        ...


class ScrapedPage:
    """The page at `url`, of which the series in `wanted` are read; without any only its text is taken.

    `target` names it in errors. `label` and `values`: as PageReader.
    """

    def __init__(
        self, target: str, url: str, wanted: frozenset[str], label: str = "", values: Collection[str] = ()
    ) -> None:
        self._target = target
        self._url = url
        self._reader = PageReader(wanted, label, values) if wanted else None

    async def metrics(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """As MetricsSource."""
        text = await pages.get_text(self._target, self._url, timeout_s)
        return self.understood(clock(), text)

    def understood(self, at: float, text: str) -> Metrics:
        """The metrics of a page. Raises MalformedPageError."""
        return Metrics(at, {} if self._reader is None else self._reader.parse(text), text)
