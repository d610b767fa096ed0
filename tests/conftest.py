"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# a busy machine is no fault: what may take how long is for bench/
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Tables are as wide as on a pipe, also in processes that tests start; pytest-xdist tells its workers a width."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(autouse=True)
def logs_end_with_the_test() -> Iterator[None]:
    """A command sends logs to standard error as its test has it, which is closed in the tests that follow."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:  # those of pytest are of other kinds
            root.removeHandler(handler)
    root.setLevel(level)
