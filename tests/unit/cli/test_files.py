from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.cli.files import text_of, write_all
from controlplane.cli.main import execute
from controlplane.domain.errors import PermanentError


@contextmanager
def no_file_larger_than(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_are_written_all_or_none_and_nothing_else_is_left(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "first", tmp_path / "new" / "second"
    write_all({first: "old"})
    with no_file_larger_than(1000), pytest.raises(PermanentError, match="second: cannot be written: File too large"):
        write_all({first: "new", second: "x" * 5000})
    assert text_of(first) == "old"
    assert list(first.parent.iterdir()) == [first]
    write_all({first: "new", second: "x" * 5000})
    assert (text_of(first), text_of(second)) == ("new", "x" * 5000)
    assert {path.stat().st_mode & 0o777 for path in first.parent.iterdir()} == {0o644}


def test_dashboards_that_find_no_room_leave_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with no_file_larger_than(1000):
        assert execute(["dashboards", "build", "--out", str(tmp_path / "new")]) == 1
    assert "cannot be written: File too large" in capsys.readouterr().err
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_is_a_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for ask in (text_of, lambda path: write_all({path: ""})):
        with pytest.raises(PermanentError, match=r"file: is a file, and a folder is needed$"):
            ask(tmp_path / "file" / "a.yml")
        with pytest.raises(PermanentError, match=r"file/sub: cannot be a folder, since .*file is a file$"):
            ask(tmp_path / "file" / "sub" / "a.yml")


def test_what_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(PermanentError, match="a: cannot be read: it is not UTF-8"):
        text_of(tmp_path / "a")
    assert text_of(tmp_path / "b") is None
