"""Faults at the start, and the end under way: one clear line and the right exit code."""

from __future__ import annotations

import os
import socket
import urllib.request

import pytest

from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import stubs, write_model
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]


class Nowhere:
    """Addresses where nobody listens."""

    http_url, grpc_url, metrics_url = "http://127.0.0.1:9", "127.0.0.1:9", "http://127.0.0.1:9/metrics"


@pytest.fixture
def idle_plane(new_plane: PlaneFactory) -> Plane:
    """Over a server that is not there."""
    return new_plane(config(Nowhere, [{"name": "bert"}]))


def test_sigterm_ends_it_within_five_seconds_in_the_middle_of_a_load(
    triton_rig: RigFactory, new_plane: PlaneFactory
) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", start_s=6.0)
    rig.start()
    plane = new_plane(config(rig, [{"name": "slow"}]))
    plane.start()
    until("the load is under way", lambda: plane.unit("slow")["in_flight"])
    code, took_s = plane.stop()
    assert code == 0, plane.log_text()
    assert took_s < 5
    assert "Traceback" not in plane.log_text()
    assert plane.events("stopped")
    plane.start()
    plane.until_instances("slow", 1)
    stubs(rig, "slow", 1)
    statuses = [o["status"] for d in plane.decisions("slow") for o in d["outcomes"]]
    assert statuses[0] == "interrupted"


def test_who_follows_what_happens_is_told_the_end_and_holds_up_none(idle_plane: Plane) -> None:
    idle_plane.start()
    with urllib.request.urlopen(f"{idle_plane.url}/api/v1/events", timeout=60) as stream:
        assert stream.readline().startswith(b"id: ")
        code, _ = idle_plane.stop()
        stream.read()  # a stream that breaks off raises IncompleteRead
    assert code == 0, idle_plane.log_text()
    assert idle_plane.events("stopped")
    assert "Traceback" not in idle_plane.log_text()


def refused(plane: Plane) -> tuple[int, list[str]]:
    """Exit code and what it said when it does not start."""
    said = len(plane.log_text().splitlines()) if (plane.folder / "log").exists() else 0
    code = plane.spawn().wait(60)
    return code, plane.log_text().splitlines()[said:]


def test_a_second_run_on_the_same_port_is_refused_in_one_line(idle_plane: Plane) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tree = idle_plane.config.read_text().replace("port: 0", f"port: {port}")
    idle_plane.config.write_text(tree)
    idle_plane.start()
    second = idle_plane.cli("run", "--config", str(idle_plane.config))
    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    assert f"127.0.0.1 port {port}: Address already in use" in second.stderr
    idle_plane.until_ticked(1)


def test_a_broken_configuration_exits_2_with_every_fault(idle_plane: Plane) -> None:
    text = idle_plane.config.read_text()
    text = (
        text.replace("mode: act", "mode: bold").replace("interval: 1s", "interval: 1").replace("[triton-0]", "[nope]")
    )
    idle_plane.config.write_text(text.replace("- triton-0", "- nope"))
    code, lines = refused(idle_plane)
    assert code == 2
    said = "\n".join(lines)
    for words in ("mode", "bold", "scrape.interval", "decide.interval", "runs_on", "nope"):
        assert words in said, said
    assert "Traceback" not in said


def test_a_corrupt_database_is_refused_in_one_line(idle_plane: Plane) -> None:
    idle_plane.store.write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    code, lines = refused(idle_plane)
    assert (code, len(lines)) == (1, 1), lines
    assert "history.db" in lines[0]
    assert lines[0].startswith("controlplane: ")


def test_a_database_that_was_cut_short_is_refused_in_one_line(idle_plane: Plane) -> None:
    idle_plane.start()
    idle_plane.stop()
    whole = idle_plane.store.read_bytes()
    idle_plane.store.write_bytes(whole[: len(whole) // 3])
    code, lines = refused(idle_plane)
    assert (code, len(lines)) == (1, 1), lines
    assert "history.db" in lines[0]


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o755), (0o444, 0o555)])
def test_a_database_that_cannot_be_written_is_refused_in_one_line(
    idle_plane: Plane, file_mode: int, folder_mode: int
) -> None:
    idle_plane.start()
    idle_plane.stop()
    idle_plane.store.chmod(file_mode)
    idle_plane.folder.chmod(folder_mode)
    code, lines = refused(idle_plane)
    idle_plane.folder.chmod(0o755)
    assert (code, len(lines)) == (1, 1), lines
    assert "history.db: it cannot be written" in lines[0]


def test_a_database_in_a_place_where_none_can_be_is_refused_in_one_line(idle_plane: Plane) -> None:
    text = idle_plane.config.read_text().replace(str(idle_plane.store), "/proc/history.db")
    idle_plane.config.write_text(text)
    code, lines = refused(idle_plane)
    assert (code, len(lines)) == (1, 1), lines
    assert "/proc/history.db" in lines[0]
