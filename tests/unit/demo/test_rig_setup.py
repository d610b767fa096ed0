import platform
import sys
from pathlib import Path

import pytest

from controlplane.demo import rig_setup
from controlplane.demo.rig_errors import RigUnavailableError


def test_other_systems_are_told_what_does_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    problem = rig_setup.platform_problem()

    assert problem is not None
    assert "linux x86-64 only" in problem
    assert "container image" in problem


@pytest.mark.parametrize(
    ("libc", "problem"),
    [
        (("glibc", "2.35"), None),
        (("glibc", "3.0"), None),
        (("glibc", "2.31"), "this system has 2.31"),
        (("", ""), "C library is unknown"),
    ],
)
def test_an_old_or_foreign_c_library_is_named(
    monkeypatch: pytest.MonkeyPatch, libc: tuple[str, str], problem: str | None
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)

    found = rig_setup.platform_problem()

    assert (problem is None) == (found is None)
    assert (problem or "") in (found or "")


def test_a_platform_that_cannot_run_it_gets_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(RigUnavailableError, match="linux"):
        rig_setup.ensure_environment(tmp_path / "rig")
    assert not (tmp_path / "rig").exists()


def test_a_folder_without_its_marker_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "pytriton-0.7.0-py311-1" / "venv").mkdir(parents=True)

    assert rig_setup.ready_environment(tmp_path) is None


def test_the_folder_is_named_by_the_environment_else_stands_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONTROLPLANE_RIG_DIR", str(tmp_path / "here"))
    assert rig_setup.rig_root() == tmp_path / "here"

    monkeypatch.delenv("CONTROLPLANE_RIG_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert rig_setup.rig_root() == tmp_path / "inference-controlplane" / "triton-rig"
