"""Tables that fit the terminal: names stay whole as long as there is room, and fold where they are joined."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

_NAMES = {"model", "objective", "server", "workload"}
"""What columns of names begin their headings with."""
_WHOLE = 30
"""Names of so many characters come before the figures beside them."""
_SHORT = 8
"""A line so short, such as `3 s ago`, is not broken."""
_WORD = re.compile(r"\s*\S+")
_PIECE = re.compile(r"\s*[^\s/_-]*+[/_-]*+")


class FittingTable(Table):
    """A table whose columns get the width of their longest word first, then names theirs, then all what is left."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """As the base class."""
        folding = (_Folding(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*folding, style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As the base class, in columns that were given their width."""
        self._fit(console, options.max_width)
        yield from super().__rich_console__(console, options)

    def _fit(self, console: Console, width: int) -> None:
        columns = [_Words.of(column, console) for column in self.columns]
        room = width - self.padding[1] * (len(columns) - 1)
        if sum(column.most for column in columns) > room >= sum(column.least for column in columns):
            for column, fitting in zip(self.columns, _widths(columns, room), strict=True):
                column.width = fitting


class _Folding:
    """Text of a cell. A word that does not fit is folded behind a - _ or / where it has one."""

    def __init__(self, markup: str) -> None:
        self.markup = markup
        self.text = Text.from_markup(markup, emoji=False)

    def __str__(self) -> str:
        return self.markup

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("\n").join(_broken(line, options.max_width) for line in self.text.split("\n"))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.text)


class _Words:
    """How wide a column must be at least, for its names to be whole, and at most."""

    def __init__(self, texts: Collection[Text], *, names: bool) -> None:
        lines = [line for text in texts for line in text.plain.split("\n")]
        parts = [part for line in lines for part in _parts(line, names=names)]
        self.least, self.most = max(map(cell_len, parts), default=0), max(map(cell_len, lines), default=0)
        self.preferred = min(self.most, max(_WHOLE, self.least)) if names else self.least

    @classmethod
    def of(cls, column: Column, console: Console) -> _Words:
        """Those of its heading and cells."""
        heading = console.render_str(str(column.header))
        texts = [cell.text for cell in column.cells if isinstance(cell, _Folding)]
        return cls([heading, *texts], names=bool(_NAMES.intersection(heading.plain.split()[:1])))


def _parts(line: str, *, names: bool) -> list[str]:
    """What of a line must not be broken."""
    if names:
        return _PIECE.findall(line)
    return [line] if len(line) <= _SHORT else [word.strip() for word in _WORD.findall(line)]


def _widths(columns: Sequence[_Words], room: int) -> list[int]:
    """The least of each, widened evenly: columns of names first, up to what they prefer."""
    widths = [column.least for column in columns]
    for wanted in ([column.preferred for column in columns], [column.most for column in columns]):
        while sum(widths) < room and (short := [n for n, width in enumerate(widths) if width < wanted[n]]):
            for n in short[: room - sum(widths)]:
                widths[n] += 1
    return widths


def _broken(line: Text, width: int) -> Text:
    """The line with an end of line in words that are longer, behind what joins their parts."""
    return Text("\n").join(line.divide(list(_breaks(line.plain, width))))


def _breaks(text: str, width: int) -> Iterator[int]:
    for word in _WORD.finditer(text):
        begin = word.start()
        if word.end() - begin > width:
            for piece in _PIECE.finditer(text, word.start(), word.end()):
                if piece.end() - begin > width and piece.start() > begin:
                    begin = piece.start()
                    yield begin
