"""What all tests share."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    """Tables are as wide as on a pipe, also in processes that tests start; pytest-xdist tells its workers a width."""
    os.environ.pop("COLUMNS", None)
