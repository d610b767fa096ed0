"""Pages that were scraped in the past, as samples that a Prometheus can be given afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

LINES_END = "# EOF\n"


@dataclass
class Scrapes:
    """Collects what a Prometheus would have kept of the pages of targets."""

    lines: list[str] = field(default_factory=list)

    def page(self, at: float, text: str, **target: str) -> None:
        """A page was scraped."""
        for line in text.splitlines():
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name, _, labels = series.partition("{")
                self._sample(name, labels.removesuffix("}"), target, value, at)
        self._sample("up", "", target, "1", at)

    def failed(self, at: float, **target: str) -> None:
        """A scrape failed."""
        self._sample("up", "", target, "0", at)

    def openmetrics(self) -> str:
        """All of it."""
        return "".join(self.lines) + LINES_END

    def _sample(self, name: str, labels: str, target: dict[str, str], value: str, at: float) -> None:
        own = ",".join(f'{label}="{text}"' for label, text in target.items())
        both = f"{labels},{own}" if labels else own
        self.lines.append(f"{name}{{{both}}} {value} {at:.3f}\n")
