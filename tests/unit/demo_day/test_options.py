"""What the demo refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.demo.day import DemoOptions, run_demo
from controlplane.domain.errors import ConfigurationError


@pytest.mark.parametrize("duration_s", [0.0, 89.9, float("nan"), float("inf"), 1e9])
def test_a_day_of_no_sensible_length_is_refused(tmp_path: Path, duration_s: float) -> None:
    with pytest.raises(ConfigurationError, match="90 to 86400 seconds"):
        run_demo(DemoOptions(duration_s=duration_s, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    history = tmp_path / "controlplane.db"
    history.write_text("months of history")
    with pytest.raises(ConfigurationError, match="not empty"):
        run_demo(DemoOptions(out=tmp_path))
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(history, "months of history")]


def test_a_folder_that_cannot_be_made_is_told_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigurationError, match=r"--out: .* is not allowed"):
            run_demo(DemoOptions(out=out))
