"""The block `mig` as it is written, and the settings of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import Field

from controlplane.config.block import Block
from controlplane.config.bounds import Holding, Patience
from controlplane.config.mig.profile_name import Amount, Gib, ProfileName
from controlplane.config.units import Name, Share
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.fleet import Mode
from controlplane.domain.mig import GpuOperator

_MIG = MigSettings(Mode.OBSERVE, 0.0, 0.0, ())


class MigModelItem(Block):
    """A model whose copies are to have MIG slices, or whole GPUs, each a process of its own."""

    name: Name = Field(description="Name of an entry in `models`.")
    memory_gib: Gib = Field(description="GPU memory that a copy needs: weights, KV cache, what the process takes.")
    profiles: dict[ProfileName, Amount] = Field(
        default={},
        description="Requests per second that a copy serves, by the profile of its slice, such as {1g.10gb: 12, whole:"
        " 90}; 0: not on such a one. They count on boards where nothing was learned; other profiles of a board are"
        " scaled from what is known. Only `whole` for a model whose workloads have several GPUs per replica.",
        json_schema_extra={"format": "names and numbers"},
    )
    share: bool = Field(default=False, description="Its copies may be on a slice with those of other such models.")


class OperatorBlock(Block):
    """NVIDIA's GPU operator, which cuts the GPUs in place of the agents."""

    config_map: str = Field(
        min_length=1, description="ConfigMap with mig-parted's file that the ClusterPolicy names, not the default one."
    )
    namespace: str = Field(default="gpu-operator", min_length=1, description="The operator's namespace.")
    kubeconfig: str | None = Field(
        default=None,
        min_length=1,
        description="Kubeconfig file; default: the pod's own service account, else the usual file.",
    )
    context: str | None = Field(default=None, min_length=1, description="Context in the kubeconfig.")


class MigBlock(Block):
    """How GPUs should be cut into MIG slices."""

    mode: Mode = Field(
        default=Mode.RECOMMEND,
        description="observe: show layouts. recommend: plan and show, change nothing. act: carry out what pays, through"
        " the agents (which needs `token_file`) or `operator`.",
    )
    every: Patience = Field(default=600.0, description="Time between two plans.")
    dwell: Holding = Field(
        default=3600.0,
        description="How long layouts are likely to last: a new one has to pay for its disturbance within this, and"
        " the demand to be held is the highest of so long. At least `every`.",
    )
    agents: list[str] | None = Field(
        default=None, min_length=1, description="Names of the agents whose GPUs may be cut; default: all GPUs seen."
    )
    token_file: str | None = Field(
        default=None,
        min_length=1,
        description="File that holds the bearer token of the agents' --token-file; read anew for each request.",
    )
    start_timeout: Patience = Field(
        default=600.0, description="A copy that was started has to answer within this, or the change ends there."
    )
    max_share: Share = Field(
        default=_MIG.max_share,
        gt=0,
        description="Largest share of the GPUs that may be cut that are out of service at a time: copies drained,"
        " slices destroyed, the MIG mode changed. One always may be, and more only where GPUs need each other's room."
        " A larger plan is carried out in rounds, each checked anew. With `operator` nodes go one at a time, and"
        " GPUs that wait for a reset count.",
    )
    max_plan_share: Share = Field(
        default=_MIG.max_plan_share,
        gt=0,
        description="Largest share of them that one plan takes out of service, round by round; then the next plan is"
        " made, of what there is. One always may be, or two that need each other's room, with `operator` one node,"
        " of which all GPUs count. At least `max_share`.",
    )
    operator: OperatorBlock | None = Field(
        default=None, description="NVIDIA's GPU operator cuts, whole nodes after a drain; default: the agents cut."
    )
    models: list[MigModelItem] = Field(min_length=1, description="The models that are to have slices.")


def to_mig(block: MigBlock, agents: Iterable[str], several: Collection[str] = ()) -> MigSettings:
    """The settings. Who acts can do so only where one of the `agents` is. `several`: models on no slice of a GPU."""
    named = block.agents if block.agents is not None or block.mode is not Mode.ACT else agents
    operator = block.operator
    return MigSettings(
        block.mode,
        block.every,
        block.dwell,
        tuple(
            MigWish(item.name, item.memory_gib, item.profiles, item.share, item.name in several)
            for item in block.models
        ),
        None if named is None else frozenset(named),
        block.token_file or "",
        block.start_timeout,
        None
        if operator is None
        else GpuOperator(operator.config_map, operator.namespace, operator.kubeconfig or "", operator.context or ""),
        block.max_share,
        block.max_plan_share,
    )
