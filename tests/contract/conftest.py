"""Stores to run the contract on: SQLite in a file, SQLite in memory, PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.store import SqlStore, open_store
from tests.contract.postgres import NoPostgresError, new_database, postgres_server
from tests.kube.fixtures import api_server, cluster, kubeconfig
from tests.rig_fixtures import module_triton_rig, rig_environment

__all__ = ["api_server", "cluster", "kubeconfig", "module_triton_rig", "rig_environment"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    try:
        with postgres_server() as folder:
            yield folder
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database that outlives its store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return new_database(request.getfixturevalue("postgres"), f"store_{next(_numbers)}")


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """An empty store."""
    if request.param == "postgresql":
        address = new_database(request.getfixturevalue("postgres"), f"store_{next(_numbers)}")
    else:
        address = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}"
    opened = open_store(address)
    yield opened
    opened.close()
