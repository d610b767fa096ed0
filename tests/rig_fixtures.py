"""Fixtures that start real Tritons."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.demo.models_repo import MODELS, write_repository
from controlplane.demo.rig import TritonRig
from controlplane.demo.rig_errors import RigError, RigUnavailableError
from controlplane.demo.rig_setup import RigEnvironment, ensure_environment

RigFactory = Callable[..., TritonRig]


@pytest.fixture(scope="session")
def rig_environment() -> RigEnvironment:
    """The rig's environment, made when it is not there; where it cannot be, a skip saying why (in CI a failure)."""
    try:
        return ensure_environment()
    except (RigUnavailableError, RigError) as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def _factory(environment: RigEnvironment, folder: Path) -> Iterator[RigFactory]:
    rigs: list[TritonRig] = []

    def make(
        names: Sequence[str] = MODELS, *, repository: dict[str, Any] | None = None, start: bool = True, **options: Any
    ) -> TritonRig:
        """A rig over a repository of its own with the named demo models.

        `repository` goes to write_repository, `options` to TritonRig.
        """
        home = folder / f"rig{len(rigs)}"
        written = write_repository(home / "models", home / "gpu", names, **(repository or {}))
        rig = TritonRig(written, environment=environment, log_path=home / "triton.log", **options)
        rigs.append(rig)
        if start:
            rig.start()
        return rig

    yield make
    for rig in rigs:
        rig.kill()  # a clean stop waits seconds for each instance; the guard tidies up either way


@pytest.fixture
def triton_rig(rig_environment: RigEnvironment, tmp_path: Path) -> Iterator[RigFactory]:
    """Makes rigs that stop at the end of the test."""
    yield from _factory(rig_environment, tmp_path)


@pytest.fixture(scope="module")
def module_triton_rig(
    rig_environment: RigEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RigFactory]:
    """Makes rigs that stop at the end of the module, for tests that can share one."""
    yield from _factory(rig_environment, tmp_path_factory.mktemp("rigs"))
