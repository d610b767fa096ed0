"""The failure table of cutting GPUs under the GPU operator."""

from __future__ import annotations

from controlplane.act.failure_table import Row, row
from controlplane.domain.failures import FailureClass as C

OPERATOR_TABLE: tuple[Row, ...] = (
    row(
        r"mig-manager says failed",
        C.BACKEND,
        "often something still uses a GPU; the log of mig-manager's pod on that node has all of it. Ask again once that"
        " is mended, or uncordon the node and remove its annotation mig.controlplane/change",
        "mig-manager says failed of controlplane-0123456789ab-a: error setting MIGConfig: In use by another client;"
        " node gpu-1 stays cordoned",
    ),
    row(
        r"mig-manager said nothing final",
        C.TIMEOUT,
        "it stays pending for ever where pods of the operator do not end: look for pods on that node that stay"
        " Terminating, delete mig-manager's own pod on that node, which then begins anew, and ask again",
        "mig-manager said nothing final of controlplane-0123456789ab-a within 2400 s, last pending; node gpu-1 stays"
        " cordoned",
    ),
    row(
        r"says success, but",
        C.TIMEOUT,
        "look whether the device plugin's pod on that node runs and what the agent tells of the GPUs; then ask again",
        "mig-manager says success, but within 2400 s the node did not offer what was asked for: nvidia.com/mig-1g.10gb"
        " is 0, not 2; node gpu-1 stays cordoned",
    ),
    row(
        r"still hold its GPUs",
        C.TIMEOUT,
        "a PodDisruptionBudget keeps pods as long as too few others are ready: add replicas elsewhere, or wait",
        "after 600 s pods still hold its GPUs: ml/llama-0 (kept by a PodDisruptionBudget); node gpu-1 was uncordoned",
    ),
    row(
        r"nobody would make again",
        C.CONTROL_NOT_ALLOWED,
        "delete these pods yourself, or have a Deployment or StatefulSet make them",
        "pods that nobody would make again hold its GPUs: ml/notebook",
    ),
    row(
        r"somebody set nvidia\.com/mig\.config",
        C.SUPERSEDED,
        "let one alone set that label of these nodes",
        "somebody set nvidia.com/mig.config to all-disabled meanwhile; node gpu-1 stays cordoned",
    ),
    row(
        r"was to have is gone",
        C.SUPERSEDED,
        "ask for its layout anew, or uncordon the node and remove its annotation mig.controlplane/change",
        "the configuration that it was to have is gone; node gpu-1 stays cordoned",
    ),
    row(
        r"is at work on",
        C.TIMEOUT,
        "mig-manager is busy with what somebody else asked for: ask again later",
        "mig-manager is at work on all-disabled (pending)",
    ),
    row(
        r"of the same node cannot be read",
        C.BACKEND,
        "mend or take out that GPU (it may come back when the node boots anew), then ask again: mig-parted tells GPUs"
        " by their numbers, and cuts none of a node of which one does not answer",
        "GPU 0 of the same node cannot be read: the GPU is lost",
    ),
    row(
        r": forbidden",
        C.CONTROL_NOT_ALLOWED,
        "give that right to the service account: deploy/kubernetes/mig.yaml has all that are needed",
        "cannot patch nodes: forbidden; the service account needs patch of nodes",
    ),
    row(
        r"does not accept the credentials",
        C.CONTROL_NOT_ALLOWED,
        "check the token or the kubeconfig",
        "cannot get nodes: the API server does not accept the credentials (401)",
    ),
    row(
        r"cannot read the configuration|get nodes: .*answered 404",
        C.INVALID_CONFIGURATION,
        "correct the kubeconfig, its context or the name of the node",
        'cannot get nodes: the API server answered 404 (nodes "gpu-9" not found)',
    ),
    row(
        r"configmaps .*answered 404|config\.yaml",
        C.INVALID_CONFIGURATION,
        "make a ConfigMap with mig-parted's file under config.yaml and name it in the ClusterPolicy as"
        " migManager.config.name; the operator's own is written over by it",
        "cannot get configmaps in namespace gpu-operator: the API server answered 404",
    ),
    row(
        r"strategy",
        C.INVALID_CONFIGURATION,
        "set mig.strategy of the ClusterPolicy to mixed",
        "the device plugin's strategy must be `mixed` or `single` for pods to get slices: nvidia.com/mig.strategy of"
        " the node is 'none'",
    ),
    row(
        r"fewer requests|answered (409|5)|no answer|no connection|connection|the name of the API server",
        C.UNREACHABLE,
        "nothing is lost: the change goes on when it is asked for again, or at the next start",
        "cannot get nodes: no answer within 10 s",
    ),
)
"""The first row that matches decides."""
