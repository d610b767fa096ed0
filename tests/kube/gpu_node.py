"""A node under NVIDIA's GPU operator: its kubelet, its GPUs, mig-manager and the device plugin, as far as they show.

mig-manager follows github.com/NVIDIA/mig-parted pkg/mig/reconfigure/reconfigure.go, states and holes alike: it acts
when the label changes, and can stay pending for ever. The GPUs are read as the agent would tell them.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import yaml
from kubernetes.client.exceptions import ApiException

from controlplane.agent.mig.present import LOST
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Board, Slice
from controlplane.decide.mig.layouts import fits
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.mig import CutSlice, GpuLayout
from tests.kube.cluster import Cluster

LABEL = "nvidia.com/mig.config"
STATE = "nvidia.com/mig.config.state"
NAMESPACE = "gpu-operator"
CONFIG_MAP = "mig-parted-config"
FILE = """\
version: v1
mig-configs:
  # nobody's but ours
  all-disabled:
    - devices: all
      mig-enabled: false

  all-1g.10gb: [{devices: all, mig-enabled: true, mig-devices: {"1g.10gb": 7}}]
"""
_MERGE = "application/merge-patch+json"


@dataclass
class Gpu:
    """A GPU: its slices with the UUIDs of their MIG devices."""

    uuid: str
    board: Board
    mig: bool = False
    lost: bool = False
    slices: dict[Slice, str] = field(default_factory=dict)

    def cut(self, counts: Mapping[str, int]) -> None:
        """From nothing, largest first, each at the last place that it fits: nobody is asked where."""
        self.slices = {}
        for profile in sorted(Counter(counts).elements(), key=lambda p: -self.board.size(self._places(p)[0])):
            piece = [place for place in self._places(profile) if fits(self.board, self.slices, place)][-1]
            self.slices[piece] = f"MIG-{uuid.uuid4()}"

    def layout(self) -> GpuLayout:
        """As the agent tells it."""
        if self.lost:
            return LOST
        cuts = [CutSlice(piece, self.board.size(piece), (name,)) for piece, name in self.slices.items()]
        if not self.mig:
            cuts = [CutSlice(Slice(WHOLE, 0), self.board.units)]
        return GpuLayout(self.uuid, self.board.key, self.board.key, self.mig, self.mig, tuple(cuts))

    def _places(self, profile: str) -> list[Slice]:
        return sorted(self.board.placements([profile]))


class GpuNode:
    """One node, until the block ends. What may go wrong is set by the test.

    `hangs`: pods of the operator do not end. `refuses`: mig-parted cannot cut. `reboots`: the mode needs a reboot.
    `behind`: so many looks it takes until mig-manager sees a changed ConfigMap. `plugin`: it comes back. `client`: the
    agent is away while mig-manager is at work, as DaemonSets are that choose nodes by nvidia.com/gpu.deploy.client.
    """

    def __init__(self, cluster: Cluster, gpus: int = 2, name: str = "gpu-1", strategy: str = "mixed") -> None:
        self.cluster = cluster
        self.name = name
        board = boards()["h100-80gb"]
        self.gpus = [Gpu(f"GPU-{name}-{index}", board) for index in range(gpus)]
        self.hangs = self.refuses = self.reboots = self.idle = False
        self.plugin = self.agent = True
        self.client = False
        self.behind = 0
        self.history: list[str] = []
        self.cuts = 0
        self.on_hang: Callable[[], None] = lambda: None
        self.remove()  # what a test that was cut off left on an API server that outlives it
        labels = {"nvidia.com/mig.strategy": strategy, LABEL: "all-disabled", STATE: "success"}
        cluster.core.create_node({"metadata": {"name": name, "labels": labels}, "spec": {}})
        self._seen = "all-disabled"
        self._file = FILE
        self._work: Iterator[None] = iter(())
        self._running = True
        _make_file(cluster)
        self._start_manager()
        self._advertise()

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-node", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(5)

    def remove(self) -> None:
        """Leave nothing on an API server that outlives the test."""
        for pod in self._pods():
            with contextlib.suppress(ApiException):  # it went by itself
                self.cluster.core.delete_namespaced_pod(
                    pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0
                )
        with contextlib.suppress(ApiException):  # it is not there
            self.cluster.core.delete_node(self.name)

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        """As the agents do."""
        assert node == self.name
        if not self.agent or (self.client and not self._running):
            raise TargetUnreachableError(f"agent {node}", "no answer")
        return tuple(gpu.layout() for gpu in self.gpus)

    def cut(self, index: int, counts: Mapping[str, int]) -> None:
        """As it was before the test."""
        self.gpus[index].mig = True
        self.gpus[index].cut(counts)
        self._advertise()

    def pod(self, name: str, owner: str = "ReplicaSet", resource: str = "nvidia.com/gpu") -> None:
        """A pod of the namespace on this node."""
        container = {
            "name": "server",
            "image": "server:1",
            "resources": {"limits": {resource: "1"} if resource else {}},
        }
        meta: dict[str, Any] = {"name": name, "labels": {"app": "llm"}}
        if owner:
            uid = str(uuid.uuid4())
            meta["ownerReferences"] = [
                {"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": uid, "controller": True}
            ]
        body = {"metadata": meta, "spec": {"nodeName": self.name, "containers": [container]}}
        self.cluster.core.create_namespaced_pod(self.cluster.namespace, body)

    def pods(self) -> list[str]:
        """Names of the pods of the test's namespace on this node."""
        return [pod.metadata.name for pod in self._pods() if pod.metadata.namespace == self.cluster.namespace]

    def restart(self) -> None:
        """Mig-manager's pod begins anew: by what the label is."""
        self._seen, self._work = "", iter(())

    def read(self) -> Any:
        """The node."""
        return self.cluster.core.read_node(self.name)

    def label(self, labels: Mapping[str, str | None]) -> None:
        """Set labels."""
        self.cluster.core.patch_node(self.name, {"metadata": {"labels": labels}}, _content_type=_MERGE)

    def config(self) -> str:
        """mig-parted's file."""
        return str(self.cluster.core.read_namespaced_config_map(CONFIG_MAP, NAMESPACE).data["config.yaml"])

    def _pods(self) -> Sequence[Any]:
        found = self.cluster.core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={self.name}")
        return list(found.items)

    def _start_manager(self) -> None:
        meta = {"name": f"mig-manager-{self.name}", "labels": {"app": "nvidia-mig-manager"}}
        spec = {"nodeName": self.name, "containers": [{"name": "manager", "image": "manager:1"}]}
        self.cluster.core.create_namespaced_pod(NAMESPACE, {"metadata": meta, "spec": spec})

    def _run(self) -> None:
        while not self._stopped.wait(0.005):
            try:
                self._step()
            except ApiException as error:
                if error.status not in {404, 409, 503}:  # it went, somebody wrote in between, a fault of the test
                    raise

    def _step(self) -> None:
        for pod in self._pods():
            if pod.metadata.deletion_timestamp is not None:
                self.cluster.core.delete_namespaced_pod(
                    pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0
                )
        if self.idle:
            return
        self._read_file()
        label = str((self.read().metadata.labels or {}).get(LABEL, ""))
        done = next(self._work, "done") == "done"
        if done and label != self._seen:
            self._seen, self._work = label, self._reconfigure(label)

    def _read_file(self) -> None:
        """The kubelet shows a changed ConfigMap after a while."""
        if (text := self.config()) != self._file:
            self.behind -= 1
            if self.behind < 0:
                self._file = text

    def _reconfigure(self, config: str) -> Iterator[None]:
        entry = (yaml.safe_load(self._file)["mig-configs"]).get(config)
        if entry is None:
            self._tell("failed", "specified config not found")
            return
        wanted = {i: part for part in entry for i in self._indices(part)}
        if all(_is_so(self.gpus[i], part) for i, part in wanted.items()):
            self._tell("success")
            return
        self._tell("pending")
        yield
        self._running = False
        self._advertise()
        if self.hangs:
            self.on_hang()  # it returns without a word, and waits for the next change of the label
            return
        yield
        if self.reboots and any(self.gpus[i].mig != part["mig-enabled"] for i, part in wanted.items()):
            self._tell("rebooting")
            yield
        if self.refuses or any(_holds_gpu(pod) for pod in self._pods()):
            self._running = self.plugin
            self._tell("failed", "In use by another client")
            self._advertise()
            return
        for i, part in wanted.items():
            if not _is_so(self.gpus[i], part) or self.gpus[i].mig != part["mig-enabled"]:
                self.gpus[i].mig = part["mig-enabled"]
                self.gpus[i].cut(part.get("mig-devices") or {})
                self.cuts += 1
        yield
        self._running = self.plugin
        self._tell("success")
        yield
        self._advertise()

    def _tell(self, state: str, why: str = "") -> None:
        log = f'level=info msg="Updating"\nlevel=fatal msg="{why}"\nlevel=error msg="Error: exit status 1"\n'
        meta = {"metadata": {"annotations": {"log": log if why else ""}}}
        self.cluster.core.patch_namespaced_pod(f"mig-manager-{self.name}", NAMESPACE, meta, _content_type=_MERGE)
        self.label({STATE: state})
        self.history.append(state)

    def _indices(self, part: Mapping[str, Any]) -> Sequence[int]:
        return range(len(self.gpus)) if part["devices"] == "all" else [int(i) for i in part["devices"]]

    def _advertise(self) -> None:
        """The device plugin (mixed, or single), and the kubelet, which keeps a resource that was once there, at 0."""
        counts = Counter(f"nvidia.com/mig-{piece.profile}" for gpu in self.gpus for piece in gpu.slices)
        counts["nvidia.com/gpu"] = sum(not gpu.mig for gpu in self.gpus)
        node = self.read()
        if (node.metadata.labels or {})["nvidia.com/mig.strategy"] == "single":
            counts = Counter({"nvidia.com/gpu": counts.total()})
        before = dict.fromkeys((node.status.allocatable or {}) if node.status else {}, "0")
        now = {name: str(count) for name, count in counts.items()} if self._running else {}
        body = {"status": {"allocatable": before | now}}
        self.cluster.core.patch_node_status(self.name, body, _content_type=_MERGE)


def _is_so(gpu: Gpu, part: Mapping[str, Any]) -> bool:
    """What `mig-parted assert` compares."""
    if not part["mig-enabled"] and not gpu.mig:
        return True
    return Counter(piece.profile for piece in gpu.slices) == Counter(part.get("mig-devices") or {})


def _holds_gpu(pod: Any) -> bool:
    limits = (pod.spec.containers[0].resources.limits or {}) if pod.spec.containers[0].resources else {}
    return any(name.startswith("nvidia.com/") for name in limits)


def _make_file(cluster: Cluster) -> None:
    """Anew, as a test may have several nodes one after the other."""
    body = {"metadata": {"name": CONFIG_MAP}, "data": {"config.yaml": FILE}}
    cluster.make_namespace(NAMESPACE)
    try:
        cluster.core.create_namespaced_config_map(NAMESPACE, body)
    except ApiException as error:
        if error.status != 409:
            raise
        cluster.core.replace_namespaced_config_map(CONFIG_MAP, NAMESPACE, body)
