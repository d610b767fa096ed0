"""The failure table of Kubernetes: what its API server, or what follows, can say against a change of replicas."""

from __future__ import annotations

from controlplane.act.failure_table import Row, row
from controlplane.act.failures import classify
from controlplane.domain.errors import ActionError, NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass as C

_WRONG_NAME = "correct kind, name, namespace or api_version of the workload's kubernetes block"

KUBERNETES_TABLE: tuple[Row, ...] = (
    row(
        r"scales it already",
        C.CONTROL_NOT_ALLOWED,
        "one may set replicas: set publish_only: true for this workload, or delete that object",
        "HorizontalPodAutoscaler llama scales it already",
    ),
    row(
        r"own selector has the label",
        C.INVALID_CONFIGURATION,
        "drain by another label, which the pod template and the Service's selector have and that selector has not",
        "Deployment llama: its own selector has the label app, a pod would be replaced and not drained",
    ),
    row(
        r"template lacks the label",
        C.INVALID_CONFIGURATION,
        "add it to the pod template's labels and then to the Service's selector, or take out `drain`",
        "Deployment llama: its pod template lacks the label controlplane/traffic: on",
    ),
    row(
        r"would go, and is in traffic",
        C.SUPERSEDED,
        "pods came, went or were given another deletion cost meanwhile: it is begun anew",
        "Deployment llama: llama-7c9f-x2x would go, and is in traffic",
    ),
    row(
        r"is being rolled out",
        C.SUPERSEDED,
        "it is tried again, and done once the rollout has ended: kubectl rollout status tells what that waits for",
        "Deployment llama is being rolled out, any of its pods might go",
    ),
    row(
        r": forbidden",
        C.CONTROL_NOT_ALLOWED,
        "give that right to the service account: deploy/kubernetes/scaling.yaml has all that are needed",
        "cannot update deployments/scale of API group apps in namespace ml: forbidden; the service account needs"
        " update of deployments/scale of API group apps in namespace ml",
    ),
    row(
        r"does not accept the credentials",
        C.CONTROL_NOT_ALLOWED,
        "check the token or the kubeconfig",
        "cannot get deployments/scale of API group apps in namespace ml: the API server does not accept the credentials"
        " (401)",
    ),
    row(
        r"cannot read the configuration",
        C.INVALID_CONFIGURATION,
        "correct kubeconfig and context of the workload's kubernetes block",
        "cannot read the configuration of Kubernetes in /etc/kubeconfig: no such file or directory",
    ),
    row(
        r"replicas meanwhile",
        C.SUPERSEDED,
        "the newer number stays, and what is needed is decided anew: let one controller own the replicas",
        "Deployment llama: somebody set 8 replicas meanwhile, where 2 were",
    ),
    row(
        r"answered 409",
        C.SUPERSEDED,
        "somebody wrote it at that moment: it is begun anew on what there is then",
        "cannot patch pods in namespace ml: the API server answered 409 (Operation cannot be fulfilled on pods"
        ' "llama-a": the object has been modified)',
    ),
    row(
        r"changed each time",
        C.SUPERSEDED,
        "somebody else writes it all the time: let one controller own the replicas",
        "Deployment llama changed each time between reading and writing it, 5 times",
    ),
    row(
        r"answered 404|no .* named",
        C.INVALID_CONFIGURATION,
        _WRONG_NAME,
        "cannot get deployments/scale of API group apps in namespace ml: the API server answered 404"
        ' (deployments.apps "llama" not found)',
    ),
    row(
        r"answered 4(00|22)|no replicas at all",
        C.INVALID_CONFIGURATION,
        "the bounds of `replicas` must be such as that object allows: read what the API server says of it",
        "cannot update llms/scale of API group example.com in namespace ml: the API server answered 422"
        " (spec.replicas: Invalid value: 9: should be less than or equal to 8)",
    ),
    row(
        r"pods were made",
        C.TIMEOUT,
        "kubectl describe tells why no pods are made or taken away: a quota, a webhook, a rollout, no controller",
        "2 of 4 pods were made within 60 s",
    ),
    row(
        r"fewer requests|answered 5|no answer|no connection|connection|the name of the API server",
        C.UNREACHABLE,
        "it is tried again: check that the API server can be reached from here",
        "cannot get deployments/scale of API group apps in namespace ml: no answer within 10 s",
    ),
)
"""The first row that matches decides."""


def refused(error: TargetUnreachableError | NotFoundError | TimeoutError) -> ActionError:
    """What happened to a step, with its class and remedy."""
    message = f"no answer: {error}" if isinstance(error, TimeoutError) else str(error)
    return action_error(message)


def action_error(message: str) -> ActionError:
    """An error of a step, with the class and the remedy that the table has for it."""
    return ActionError(message, *classify(message, table=KUBERNETES_TABLE))
