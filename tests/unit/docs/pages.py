"""The pages that people read, cut into what the tests hold against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """A markdown page: `text` with everything, `prose` without fenced blocks."""

    path: Path
    text: str

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def prose(self) -> str:
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Fenced blocks of a language, in order."""
        return [body for tag, body in _FENCE.findall(self.text) if tag == language]

    def spans(self) -> list[str]:
        """Inline code."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def code(self) -> Iterator[str]:
        """Lines of code: inline, of shell blocks (continued lines joined, comments cut) and indented."""
        yield from self.spans()
        for block in self.blocks("sh"):
            for line in block.replace("\\\n", " ").splitlines():
                yield re.split(r"\s#\s|^#", line)[0].strip()
        yield from (line.strip() for line in self.prose.splitlines() if line.startswith("    "))

    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def anchors(self) -> set[str]:
        """What GitHub makes of the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def read(path: Path) -> Page:
    return Page(path, path.read_text(encoding="utf-8"))


PAGES = [
    read(path)
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
]
