"""Other versions of models on a real Triton: rolled out beside the old one, or back, under traffic.

One Triton and one control plane for all: each test goes on from the version that serves, and what is broken is taken
out of the repository again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton

from controlplane.demo.rig import TritonRig
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import starts, traffic, write_model
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

PROBED, PLAIN = "probed", "plain"
MODELS = [
    {"name": PROBED, "instances": {"min": 2, "max": 2}, "probe": {"every": "1s", "timeout": "900ms"}},
    {"name": PLAIN, "instances": {"min": 1, "max": 1}},
]


@pytest.fixture(scope="module")
def rig(module_triton_rig: RigFactory) -> TritonRig:
    made = module_triton_rig([], start=False)
    for model in (PROBED, PLAIN):
        write_model(made.repository, model, start_s=0.1, execute_s=0.01)
    made.start()
    return made


@pytest.fixture(scope="module")
def plane(rig: TritonRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("plane"), config(rig, MODELS))
    made.start()
    made.until_instances(PROBED, 2)
    made.until_instances(PLAIN, 1)
    yield made
    made.kill()


def add_version(rig: TritonRig, model: str, *, initialize: str = "pass", execute: str = "pass") -> str:
    """The next version, as somebody would copy it there; gives its number."""
    folder: Path = rig.repository / model
    source = (folder / "1" / "model.py").read_text()
    source = source.replace("time.sleep(0.1)", initialize).replace("time.sleep(0.01)", f"time.sleep(0.01); {execute}")
    number = max(int(path.name) for path in folder.iterdir() if path.name.isdigit()) + 1
    version = folder / str(number)
    version.mkdir()
    (version / "__pycache__").touch()
    (version / "model.py").write_text(source)
    return version.name


def versions(rig: TritonRig, model: str) -> list[str]:
    """Those that are ready, by Triton's own index."""
    with triton.InferenceServerClient(rig.grpc_url) as client:
        index = client.get_model_repository_index()
    return sorted(row.version for row in index.models if row.name == model and row.state == "READY")


def roll(plane: Plane, model: str, version: str, verify: str = "2s") -> str:
    """Asks for the rollout; gives its operation."""
    body = {"version": version, "verify_for": verify, "ttl": "1h", "reason": "better"}
    status, answer = plane.call("POST", f"models/{model}/rollout", body)
    assert status == 202, answer
    return str(answer["id"])


def end_of(plane: Plane, model: str, operation: str) -> dict[str, Any]:
    """The operation once it is over and no step is under way."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = plane.get(f"operations/{operation}")
        unit = plane.unit(model)
        over = unit["rollout"] is not None and unit["rollout"]["phase"] in ("done", "rolled_back")
        return found if over and found["status"] != "pending" and unit["in_flight"] is None else None

    return until("the rollout is over", ended, 60, lambda: [d["headline"] for d in plane.decisions(model)[-6:]])


def test_a_new_version_is_rolled_out_and_no_request_fails(rig: TritonRig, plane: Plane) -> None:
    (old,), new = versions(rig, PROBED), add_version(rig, PROBED)
    with traffic(rig, PROBED, 3) as requests:
        operation = roll(plane, PROBED, new)
        until("both serve", lambda: versions(rig, PROBED) == [old, new])
        ended = end_of(plane, PROBED, operation)
    assert (ended["status"], ended["detail"]) == ("succeeded", "triton-0: done")
    assert (versions(rig, PROBED), plane.instances(PROBED)) == ([new], 2)
    assert requests.failed == {}
    assert requests.answers["ok"] > 50
    assert f"rollout to version {new}" in plane.cli("status").stdout


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"initialize": 'raise RuntimeError("no weights")'}, "no weights"),
        ({"execute": 'raise RuntimeError("wrong shape")'}, "does not answer a probe: "),
        ({}, "not in the model repository"),
    ],
    ids=["it does not load", "it does not answer", "it is not there"],
)
def test_a_broken_version_goes_and_the_old_one_never_fails(
    rig: TritonRig, plane: Plane, faults: dict[str, str], why: str
) -> None:
    (old,) = versions(rig, PROBED)
    new = add_version(rig, PROBED, **faults) if faults else "99"
    with traffic(rig, PROBED, 2) as any_version, traffic(rig, PROBED, 2, version=old) as pinned:
        ended = end_of(plane, PROBED, roll(plane, PROBED, new))
        begun = starts(rig, PROBED)
        plane.until_ticked(2)
    assert ended["status"] == "failed"
    assert why in ended["detail"]
    assert (versions(rig, PROBED), plane.instances(PROBED)) == ([old], 2)
    assert (pinned.failed, pinned.answers["ok"] > 20) == ({}, True)
    if "execute" not in faults:
        assert any_version.failed == {}
    assert starts(rig, PROBED) == begun, "what failed is not tried again"
    shutil.rmtree(rig.repository / PROBED / new, ignore_errors=True)


def test_without_a_probe_a_version_that_fails_is_found_by_the_requests_of_users(rig: TritonRig, plane: Plane) -> None:
    (old,), new = versions(rig, PLAIN), add_version(rig, PLAIN, execute='raise RuntimeError("no such user")')
    with traffic(rig, PLAIN, 1), traffic(rig, PLAIN, 1, version=old) as pinned:
        ended = end_of(plane, PLAIN, roll(plane, PLAIN, new, verify="1m"))
    assert ended["status"] == "failed"
    assert "requests failed" in ended["detail"]
    assert (versions(rig, PLAIN), pinned.failed) == ([old], {})


def test_a_server_that_restarts_alone_or_with_the_plane_loads_the_version_that_held_and_not_the_broken_one(
    rig: TritonRig, plane: Plane
) -> None:
    (old,), (held,) = versions(rig, PLAIN), versions(rig, PROBED)
    broken = add_version(rig, PLAIN, initialize='raise RuntimeError("no weights")')
    assert end_of(plane, PLAIN, roll(plane, PLAIN, broken))["status"] == "failed"
    for alone in (True, False):
        if not alone:
            plane.kill()
        rig.kill()
        rig.start()  # its repository has the broken one as the latest
        if not alone:
            plane.start()
        until("both are back", lambda: (versions(rig, PLAIN), versions(rig, PROBED)) == ([old], [held]))
        plane.until_ticked(2)
        plane.until_instances(PROBED, 2, timeout_s=60.0)
        assert (versions(rig, PLAIN), versions(rig, PROBED)) == ([old], [held])


def test_killed_in_the_middle_it_goes_on_and_a_withdrawn_one_goes_back(rig: TritonRig, plane: Plane) -> None:
    new = add_version(rig, PROBED, initialize="time.sleep(0.5)")
    begun = len(starts(rig, PROBED))
    with traffic(rig, PROBED, 2) as requests:
        operation = roll(plane, PROBED, new)
        until("the new version is being loaded", lambda: plane.unit(PROBED)["in_flight"])
        plane.kill()
        plane.start(ticked=False)
        ended = end_of(plane, PROBED, operation)
        assert ended["status"] == "succeeded", ended["detail"]
        assert versions(rig, PROBED) == [new]
        assert len(starts(rig, PROBED)) == begun + 2, "its two instances were started once"

        newer = add_version(rig, PROBED)
        operation = roll(plane, PROBED, newer, verify="10m")
        until("both serve", lambda: versions(rig, PROBED) == [new, newer])
        assert plane.call("DELETE", f"overrides/{operation}")[0] == 200
        until("only the old one serves", lambda: versions(rig, PROBED) == [new])
    assert requests.failed == {}
