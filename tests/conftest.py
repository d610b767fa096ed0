"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# a busy machine is no fault: what may take how long is for bench/
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Tables are as wide as on a pipe, also in processes that tests start; pytest-xdist tells its workers a width."""
    os.environ.pop("COLUMNS", None)
