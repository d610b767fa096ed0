from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from controlplane.api.tokens import Scope, TokenFile, create_token
from controlplane.domain.errors import ConfigurationError, ConflictError

NOW = 1_800_000_000.0


def test_a_token_is_found_by_its_secret_which_the_file_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    secret = create_token(path, "ci", Scope.OPERATOR, None)
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    found = TokenFile(path, lambda: NOW).find(secret)
    assert found is not None
    assert (found.name, found.scope) == ("ci", Scope.OPERATOR)
    assert TokenFile(path, lambda: NOW).find(secret + "x") is None
    assert TokenFile(path, lambda: NOW).find("") is None


def test_secrets_carry_256_random_bits(tmp_path: Path) -> None:
    secrets = {create_token(tmp_path / "tokens", f"t{i}", Scope.VIEWER, None) for i in range(20)}
    assert len(secrets) == 20
    assert all(len(s.removeprefix("cp_")) == 43 for s in secrets), "32 bytes in base64 are 43 characters"


def test_a_token_runs_out(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    secret = create_token(path, "ci", Scope.VIEWER, NOW + 60)
    assert TokenFile(path, lambda: NOW + 59).find(secret) is not None
    assert TokenFile(path, lambda: NOW + 60).find(secret) is None


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    first = create_token(path, "one", Scope.VIEWER, None)
    tokens = TokenFile(path, lambda: NOW)
    assert tokens.find(first) is not None
    second = create_token(path, "two", Scope.VIEWER, None)
    assert tokens.find(second) is not None
    path.write_text("\n".join(line for line in path.read_text().splitlines() if '"one"' not in line) + "\n")
    assert tokens.find(first) is None, "a token that was taken out is refused at once"
    assert tokens.find(second) is not None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_lets_nobody_in(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens"
    secret = create_token(path, "ci", Scope.ADMIN, None)
    tokens = TokenFile(path, lambda: NOW)
    assert tokens.find(secret) is not None
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"0{mode:o} is not allowed"):
        tokens.find(secret)
    with pytest.raises(ConfigurationError):
        create_token(path, "other", Scope.ADMIN, None)
    path.chmod(0o600)
    assert tokens.find(secret) is not None


def test_a_file_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    secret = create_token(path, "ci", Scope.ADMIN, None)
    tokens = TokenFile(path, lambda: NOW)
    tokens.find(secret)
    path.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        tokens.find(secret)


def test_every_bad_line_is_named_and_none_is_shown(tmp_path: Path) -> None:
    good = {"name": "a", "sha256": "0" * 64, "scope": "viewer", "expires_at": "2030-01-01T00:00:00Z"}
    lines = [
        json.dumps(good),
        "# a comment",
        "hunter2",
        json.dumps(good),
        json.dumps(good | {"name": "b", "scope": "root"}),
        json.dumps(good | {"name": "c", "sha256": "xyz"}),
        json.dumps(good | {"name": "d", "expires_at": "never"}),
        json.dumps({"name": "e"}),
        "[1]",
    ]
    path = tmp_path / "tokens"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        TokenFile(path, lambda: NOW).tokens()
    assert [f.path for f in caught.value.faults] == [f"line {n}" for n in (3, 4, 5, 6, 7, 8, 9)]
    assert "hunter2" not in str(caught.value)


def test_names_are_unique_and_printable(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    create_token(path, "ci", Scope.VIEWER, None)
    for name in ("ci", "", "a\nb", "x" * 65):
        with pytest.raises(ConflictError):
            create_token(path, name, Scope.VIEWER, None)
    assert len(path.read_text().splitlines()) == 1


def test_a_link_or_folder_in_place_of_the_file_is_refused_with_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        TokenFile(tmp_path, lambda: NOW).tokens()


def test_a_pipe_in_place_of_the_file_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="regular file"):
        TokenFile(path, lambda: NOW).tokens()
    with pytest.raises(ConfigurationError, match="regular file"):
        create_token(path, "ci", Scope.VIEWER, None)


@pytest.mark.parametrize("name", [".", "nowhere/tokens", "binary"])
def test_a_file_that_cannot_take_a_token_is_told_in_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "binary").chmod(0o600)
    with pytest.raises(ConfigurationError, match="its folder must exist"):
        create_token(tmp_path / name, "ci", Scope.VIEWER, None)


def test_each_scope_covers_those_below_it() -> None:
    allowed = {(a, b) for a in Scope for b in Scope if a.allows(b)}
    assert allowed == {
        (Scope.VIEWER, Scope.VIEWER),
        (Scope.OPERATOR, Scope.VIEWER),
        (Scope.OPERATOR, Scope.OPERATOR),
        *((Scope.ADMIN, scope) for scope in Scope),
    }


def test_a_file_readable_by_others_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    secret = create_token(path, "ci", Scope.VIEWER, None)
    os.chmod(path, 0o644)  # noqa: PTH101 - hashes may be read, as from a mounted secret
    assert TokenFile(path, lambda: NOW).find(secret) is not None


def test_a_new_token_leaves_the_file_readable_to_whoever_could_read_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    create_token(path, "one", Scope.VIEWER, None)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    before = path.stat()
    create_token(path, "two", Scope.VIEWER, None)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert len(path.read_text().splitlines()) == 2
