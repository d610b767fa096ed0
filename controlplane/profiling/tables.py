"""Tables of an export: sections of comma-separated rows, each with a heading, with blank lines between them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TypeAlias

from controlplane.domain.errors import ProfileError

Row: TypeAlias = dict[str, str]
"""Cells by column, whose name is in lower case: versions of a tool differ in that."""
_MOST = 1e12
"""Larger numbers are none of a benchmark's."""


def read_tables(text: str) -> list[list[Row]]:
    """The tables of an export, those without a row among them."""
    tables: list[list[Row]] = []
    heading: list[str] = []
    for cells in csv.reader(io.StringIO(text)):
        if not any(cell.strip() for cell in cells):
            heading = []
        elif not heading:
            heading = [cell.strip().lower() for cell in cells]
            tables.append([])
        else:
            tables[-1].append(dict(zip(heading, (cell.strip() for cell in cells), strict=False)))
    return tables


def number(row: Row, column: str, where: str) -> float:
    """The number in a cell, thousands parted by commas or not. Raises ProfileError."""
    text = row.get(column, "")
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        found = -1.0
    if not 0 <= found <= _MOST:
        raise ProfileError(f"{where}: {column!r} is {text!r}, and a number from 0 to {_MOST:g} is needed")
    return found


def numbered(table: list[Row], name: str) -> Iterator[tuple[Row, str]]:
    """Rows, and how each is called in errors."""
    return ((row, f"{name}, row {i}") for i, row in enumerate(table, 1))
