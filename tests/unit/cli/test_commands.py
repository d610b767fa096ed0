from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from controlplane.api.tokens import Scope, TokenFile
from controlplane.cli.client import Api, RefusedError
from controlplane.cli.main import execute
from controlplane.cli.output import duration
from controlplane.cli.tables import servers_table
from controlplane.config import load_settings
from controlplane.domain.errors import ConflictError
from controlplane.domain.objectives import SLICE_S, Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.loop.clock import wall_clock
from controlplane.store import open_store
from tests.unit.api.fakes import CONFIGURATION


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "controlplane.yaml"
    path.write_text(CONFIGURATION, encoding="utf-8")
    return path


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"controlplane {version('inference-controlplane')}\n"


def test_check_says_that_a_good_file_is_good(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["check", str(config)]) == 0
    assert "1 server, 0 workloads, 0 gateways, 0 agents, 3 models" in capsys.readouterr().out
    assert execute(["check", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_check_prints_all_faults_at_once_and_exits_with_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("mode: never\nservers: [{name: t}]\nscrape: {interval: soon}\n", encoding="utf-8")
    assert execute(["check", str(config)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    for path in ("mode", "scrape.interval", "servers"):
        assert path in told.err
    assert "Traceback" not in told.err
    assert execute(["check", str(config), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {"path", "value", "allowed"} == set(document["faults"][0])


def test_a_file_that_cannot_be_read_is_told_in_a_sentence(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["check", "nope.yaml"]) == 2
    assert capsys.readouterr().err == "controlplane: nope.yaml: cannot be read: No such file or directory\n"
    assert execute(["check", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("cannot be read: Is a directory\n")
    config.write_bytes(b"\xff")
    assert execute(["rules", "--config", config.name]) == 2
    assert capsys.readouterr().err == f"controlplane: {config.name}: is not UTF-8 text\n"


def test_check_refuses_a_token_file_that_others_may_write(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = config.parent / "tokens"
    tokens.touch()
    tokens.chmod(0o666)
    config.write_text(f"{CONFIGURATION}api: {{tokens_file: {tokens}}}\n", encoding="utf-8")
    assert execute(["check", str(config)]) == 2
    assert "0666" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["model"],
        ["model", "load"],
        ["model", "instances", "bert", "many"],
        ["decisions", "--limit", "0"],
        ["explain", ""],
        ["model", "pin", "team/bert"],
        ["status", "--url", "nonsense"],
        ["status", "--url", "http://127.0.0.1:99999"],
        ["status", "--token-file", "/nonexistent/token"],
        ["check", "/nonexistent/controlplane.yaml"],
        ["run", "--config", "/nonexistent/controlplane.yaml"],
        ["db", "upgrade", "--config", "/nonexistent/controlplane.yaml"],
        ["token", "create", "ci", "--file", "t", "--scope", "root"],
        ["token", "create", "ci", "--file", "t", "--for", "soon"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("controlplane: ")
    assert len(told.err.splitlines()) == 1, told.err


def test_a_token_is_shown_once_and_kept_as_a_hash(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config.parent / "tokens"
    assert execute(["token", "create", "ci", "--scope", "operator", "--file", str(path)]) == 0
    secret = capsys.readouterr().out.strip()
    found = TokenFile(path, lambda: 0.0).find(secret)
    assert found is not None
    assert found.scope is Scope.OPERATOR
    assert secret not in path.read_text(encoding="utf-8")
    assert execute(["token", "create", "ci", "--file", str(path)]) == 1, "the name is taken"
    assert execute(["token", "create", "forever", "--for", "never", "--file", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expires_at"] is None


def test_a_token_goes_to_the_file_that_the_configuration_names(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["token", "create", "ci"]) == 2, "the configuration names none"
    assert "api.tokens_file" in capsys.readouterr().err
    config.write_text(f"{CONFIGURATION}api: {{tokens_file: tokens}}\n", encoding="utf-8")
    assert execute(["token", "create", "ci"]) == 0
    assert (config.parent / "tokens").exists()


def test_the_database_is_upgraded_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["db", "upgrade"]) == 0
    assert "from nothing to" in capsys.readouterr().out
    assert execute(["db", "upgrade", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["before"] == document["after"] is not None


def test_history_dated_ahead_is_dropped_when_asked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["db", "drop-ahead"]) == 0
    assert capsys.readouterr().out.startswith("nothing to do")
    store = open_store(load_settings(config).store_url)
    far = (wall_clock() + 86400.0) // SLICE_S * SLICE_S
    store.write_tick(TickRecord(far, (Slice("m", "o", far, 1, 0, 0, 10.0, 10.0, "v"),), (), (), PolicyState()))
    store.close()
    assert execute(["db", "drop-ahead", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"slices": 1, "until": far + SLICE_S}
    assert execute(["db", "drop-ahead", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"slices": 0, "until": None}


def test_help_imports_nothing_heavy_so_that_it_starts_at_once() -> None:
    program = (
        "import sys; from controlplane.cli.main import execute; execute(['--help']); "
        "print([m for m in ('fastapi', 'sqlalchemy', 'pydantic', 'numpy', 'grpc', 'rich.table', 'structlog')"
        " if m in sys.modules])"
    )
    least_s = 9.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least_s = min(least_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stdout.splitlines()[-1] == "[]"
    assert least_s < 0.6, "about 0.12 s of a processor"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7200, "2 h"), (90060, "1 d 1 h"), (28 * 86400.0, "28 d")],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ctrl_c_while_everything_is_imported_ends_without_a_traceback() -> None:
    code = """
import sys
class Importing:
    def find_spec(self, name, path=None, target=None):
        if name == "controlplane.cli.main":
            import os, signal
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Importing())
from controlplane.cli.entry import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_an_answer_of_another_version_is_told_and_no_traceback() -> None:
    answer = Api("http://127.0.0.1:1")._read(200, b'{"servers": [{"name": "t0"}]}')
    assert json.loads(json.dumps(answer)) == {"servers": [{"name": "t0"}]}
    assert answer.get("models") is None
    with pytest.raises(ConflictError, match="has no 'live': it runs another version"):
        servers_table(answer["servers"])


def test_the_package_runs_as_the_command_does() -> None:
    as_module = [sys.executable, "-m", "controlplane"]
    done = subprocess.run([*as_module, "check", "nope.yaml"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "controlplane: nope.yaml: cannot be read: No such file or directory\n"
    helped = subprocess.run([*as_module, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert helped.returncode == 0
    assert helped.stdout.strip().startswith("Usage: controlplane ")


def test_output_that_cannot_be_written_is_told_and_a_reader_that_has_gone_is_not(config: Path) -> None:
    def ended(output: int) -> subprocess.CompletedProcess[str]:
        check = [sys.executable, "-m", "controlplane", "check", str(config)]
        return subprocess.run(check, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = ended(full.fileno())
    assert (done.returncode, done.stderr) == (
        1,
        "controlplane: the output cannot be written: No space left on device\n",
    )
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = ended(writes)
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_error_of_the_system_that_is_not_about_output_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file")

    monkeypatch.setattr("controlplane.cli.main.typer.main.get_command", lambda _: broken)
    with pytest.raises(FileNotFoundError):
        execute(["check"])


def test_an_argument_that_is_no_text_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["model", "load", "\udcff"]) == 2
    told = capsys.readouterr().err
    assert told == "controlplane: argument '\\udcff' is not allowed; text in UTF-8. See `controlplane --help`.\n"


@pytest.mark.parametrize(
    ("arguments", "thing", "value"),
    [
        (["model", "instances", "bert", "abc"], "'N'", "'abc'"),
        (["model", "instances", "bert", "-1"], "'N'", "-1"),
        (["model", "instances", "bert", "-1", "--for", "2h"], "'N'", "-1"),
        (["model", "instances", "bert", "-1.5"], "'N'", "-1.5"),
        (["model", "bounds", "bert", "-1", "3"], "'MIN'", "-1"),
        (["model", "bounds", "bert", "1", "-12"], "'MAX'", "-12"),
        (["model", "rollout", "bert", "-2"], "'VERSION'", "-2"),
        (["scale", "llama", "-1"], "'N'", "-1"),
        (["workload", "bounds", "llama", "-1", "4"], "'MIN'", "-1"),
        (["agent", "--port", "99999"], "'--port'", "99999"),
        (["decisions", "--limit", "0"], "'--limit'", "0"),
    ],
)
def test_a_number_that_is_not_allowed_is_told_with_its_option_and_its_value(
    arguments: list[str], thing: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(arguments) == 2
    told = capsys.readouterr().err
    assert thing in told
    assert value in told
    assert "option: " not in told


def test_what_is_not_understood_is_told_with_the_help_of_its_own_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["scale", "llama"]) == 2
    assert capsys.readouterr().err == "controlplane: Missing argument 'N'. See `controlplane scale --help`.\n"


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_standard_stream_that_is_closed_is_no_bug_and_no_place_for_other_files(closed: int) -> None:
    runs = f"import os; from controlplane.cli.entry import main\ntry: main()\nfinally: os.write({closed}, b'')"
    closes = (
        f"import os, sys; os.close({closed}); os.execv(sys.executable, [sys.executable, '-c', {runs!r}, '--version'])"
    )
    done = subprocess.run([sys.executable, "-c", closes], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed != 1)


def test_ctrl_c_before_a_command_is_reached_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("controlplane.cli.main.typer.main.get_command", interrupted)
    assert execute(["check"]) == 130


def test_an_option_that_is_not_known_is_told_beside_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["model", "instances", "bert", "1", "--four", "2h"]) == 2
    assert "No such option: --four" in capsys.readouterr().err


def test_what_the_api_refuses_is_told_by_the_options_of_the_command_line() -> None:
    errors = [{"where": "body.ttl", "problem": "too long"}, {"where": "body.reason", "problem": "empty"}]
    errors.append({"where": "query.since", "problem": "odd"})
    detail = "body.ttl: '9y' is not allowed; too long; body.reason: empty; query.since: odd"
    with pytest.raises(RefusedError) as raised:
        Api("http://127.0.0.1:1")._read(422, json.dumps({"detail": detail, "errors": errors}).encode())
    assert str(raised.value) == "--for: '9y' is not allowed; too long; --reason: empty; since: odd"
