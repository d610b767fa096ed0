"""Every alert: how urgent it is, what tells one from another, and what it says. Rules, notices and docs are made of it.

Texts hold `{model}`-style placeholders of the alert's labels. A description may hold `{value}`, what was measured, and
`{remedy}`, what to do about the failure class in the label `cause`; a summary holds nothing that changes while an alert
fires. `{node? of node }` says the words with the label behind them, and nothing where the label is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.domain.failures import FailureClass
from controlplane.slo.phrases import figure

_FIGURE = (
    '{{ if or (ge $value 100.0) (le $value -100.0) }}{{ printf "%.0f" $value }}'
    '{{ else }}{{ printf "%.3g" $value }}{{ end }}'
)
"""`figure` as a template."""
_PLACEHOLDER = re.compile(r"\{(\w+)(?:\?([^{}]*))?\}")


@dataclass(frozen=True, slots=True)
class AlertText:
    """One alert. `labels` tell one from another, besides its name and severity; it fires once it held for `for_s`.

    The severity of ErrorBudgetBurn is that of its fast windows: the slow ones open a ticket.
    """

    alert: AlertName
    severity: Severity
    for_s: float
    labels: tuple[str, ...]
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """The file of its page in docs/runbooks."""
        return f"{self.alert.value}.md"


_OBJECTIVE = (names.MODEL, names.OBJECTIVE)
_UNIT = (names.MODEL, names.SERVER)
_PLACE = (names.MODEL, names.WORKLOAD, names.SERVER)
"""Where a server or a workload is meant one of them is empty, so texts write `{workload}{server}`."""
_GPU = (names.NODE, names.GPU)
"""The node is empty where the GPU is of the control plane's own machine."""
_PAGE, _TICKET, _INFO = Severity.PAGE, Severity.TICKET, Severity.INFO

CATALOGUE: tuple[AlertText, ...] = (
    AlertText(
        AlertName.ERROR_BUDGET_BURN,
        _PAGE,
        0.0,
        _OBJECTIVE,
        "Model {model} burns the error budget of {objective} too fast",
        "The burn rate is {value}: so many times the speed at which the budget lasts the objective's window.",
    ),
    AlertText(
        AlertName.ERROR_BUDGET_EXHAUSTED,
        _TICKET,
        300.0,
        _OBJECTIVE,
        "Model {model} has no error budget left for {objective}",
        "The share of the budget that is left is {value}; negative: overspent. Hold back changes to the model until it"
        " has some again.",
    ),
    AlertText(
        AlertName.OBJECTIVE_UNMEASURED,
        _TICKET,
        600.0,
        _OBJECTIVE,
        "Objective {objective} of model {model} is not measured",
        "Less than half of the last 15 minutes was measured. Its burn alerts stay what they were meanwhile, and none"
        " can begin.",
    ),
    AlertText(
        AlertName.MODEL_LOAD_FAILED,
        _PAGE,
        0.0,
        (*_UNIT, names.CAUSE),
        "Model {model} failed to load on server {server}: {cause}",
        "The failure is of the class {cause}. What to do: {remedy}.",
    ),
    AlertText(
        AlertName.MODEL_FAILING,
        _PAGE,
        120.0,
        _UNIT,
        "Model {model} on server {server} is ready, yet its requests fail",
        "Most of its requests failed of late, though the server calls the model ready. Loading it again does not heal"
        " a dead backend; a reload does.",
    ),
    AlertText(
        AlertName.CAPACITY_REFUSED,
        _TICKET,
        300.0,
        (*_PLACE, names.CAUSE),
        "Model {model} on {workload}{server} needs more capacity than it may get: {cause}",
        "Demand asks for more than is there, and {cause} stands against it. Objectives are at risk for as long as"
        " demand stays.",
    ),
    AlertText(
        AlertName.STARTUP_SLOW,
        _TICKET,
        60.0,
        (*_PLACE, names.KIND),
        "Start-up ({kind}) of model {model} on {workload}{server} takes far longer than was learned",
        "What was started is not ready after half as long again as nine of ten start-ups took. Demand is served by what"
        " there was until then.",
    ),
    AlertText(
        AlertName.SCALING_FLAPPING,
        _TICKET,
        0.0,
        _UNIT,
        "Scaling of model {model} on server {server} turns to and fro",
        "Decisions turned between raising and lowering too often within the last hour.",
    ),
    AlertText(
        AlertName.MIG_CHANGE_FAILED,
        _TICKET,
        0.0,
        (names.NODE,),
        "A change of MIG layouts failed on node {node}",
        "What was done before the step that failed stays, and no plan is carried out for a while. The next one is made"
        " of what there is.",
    ),
    AlertText(
        AlertName.MIG_RESET_PENDING,
        _TICKET,
        6 * 3600.0,
        _GPU,
        "GPU {gpu}{node? of node } waits for a reset to change its MIG mode",
        "The mode changes at the next reset, which is a person's to do. Until then no plan uses the GPU, and plans for"
        " others may be held, since it is out of service.",
    ),
    AlertText(
        AlertName.GPU_XID,
        _TICKET,
        0.0,
        (*_GPU, names.CAUSE),
        "GPU {gpu}{node? of node } reported XID {cause}",
        "The driver reported the error XID {cause}. Whether a restart of what runs there is enough depends on its"
        " number; see the runbook.",
    ),
    AlertText(
        AlertName.GPU_ECC,
        _TICKET,
        0.0,
        _GPU,
        "GPU {gpu}{node? of node } has uncorrected memory errors",
        "Memory errors were found that ECC could not correct. What was computed there may have ended with an error.",
    ),
    AlertText(
        AlertName.GPU_THROTTLED,
        _TICKET,
        600.0,
        (*_GPU, names.CAUSE),
        "GPU {gpu}{node? of node } is held down: {cause}",
        "The clocks are lower than they could be because of {cause}, so models there serve less than was learned.",
    ),
    AlertText(
        AlertName.SERVER_DOWN,
        _PAGE,
        60.0,
        _UNIT,
        "Server {server} of model {model} does not answer",
        "The server is known not to be live. Other pages about it are held back meanwhile, and those of models that run"
        " nowhere else.",
    ),
    AlertText(
        AlertName.SCRAPE_STALE,
        _TICKET,
        120.0,
        _UNIT,
        "Server {server} of model {model} is not read any more",
        "Nothing new was read from the server. Decisions about what runs there hold still, and unmeasured time does"
        " not count as good.",
    ),
    AlertText(
        AlertName.OVERRIDE_ENDING,
        _INFO,
        0.0,
        (names.MODEL, names.WORKLOAD, names.KIND),
        "What a person set is about to end: {kind} {model}{workload}",
        "Scaling goes back to policy then. Set it again if it is still wanted.",
    ),
    AlertText(
        AlertName.STORE_FAILING,
        _PAGE,
        60.0,
        (),
        "The control plane cannot read or write its store",
        "Nothing is acted upon while it cannot be written down. Ticks wait in memory, a bounded number of them.",
    ),
    AlertText(
        AlertName.CONTROL_PLANE_LATE,
        _TICKET,
        120.0,
        (),
        "The control plane's ticks are late or left out",
        "Observation and scaling lag behind. Look at what the ticks wait for.",
    ),
    AlertText(
        AlertName.CONTROL_PLANE_NOT_LEADING,
        _PAGE,
        60.0,
        (),
        "No control plane leads",
        "A process answers, but none decides, measures or acts.",
    ),
    AlertText(
        AlertName.CONTROL_PLANE_DOWN,
        _PAGE,
        60.0,
        (),
        "The control plane cannot be scraped",
        "Nothing is known of models and objectives, and nothing is scaled. What runs goes on as it is.",
    ),
    AlertText(
        AlertName.WATCHDOG,
        _INFO,
        0.0,
        (),
        "Alerting works",
        "This alert always fires. Where it stops arriving, alerts do not reach people.",
    ),
)

BY_NAME: Mapping[AlertName, AlertText] = {text.alert: text for text in CATALOGUE}

REMEDIES: Mapping[FailureClass, str] = {
    FailureClass.MODEL_NOT_FOUND: "put the model into the server's model repository, or correct its name",
    FailureClass.INVALID_CONFIGURATION: "correct the model's config.pbtxt or the override; the server's log says where",
    FailureClass.OUT_OF_MEMORY: "fewer instances, a smaller batch, or unload idle models",
    FailureClass.TIMEOUT: "the server goes on by itself: see there what came of it; make loading quicker",
    FailureClass.BACKEND: "read the backend's message in the server's log; a dead Python stub needs a reload",
    FailureClass.SHAPE_MISMATCH: "let the configuration's inputs and outputs say what the model takes and gives",
    FailureClass.VERSION_NOT_AVAILABLE: "put a numbered version into the repository, or correct the version policy",
    FailureClass.SHARED_MEMORY: "give the server more shared memory, or register its regions again",
    FailureClass.DYNAMIC_BATCHING_OFF: "export the model with a dynamic batch dimension, then set max_batch_size",
    FailureClass.ACCELERATION_FAILED: "correct execution_accelerators, or use a server image that has the accelerator",
    FailureClass.CONTROL_NOT_ALLOWED: "start Triton with --model-control-mode=explicit",
    FailureClass.SUPERSEDED: "nothing now; let one controller own the model",
    FailureClass.UNREACHABLE: "check that the server runs and that its address is right",
    FailureClass.UNKNOWN: "read the server's log around this time",
}
"""What to do about a class of failure; docs/reference/failures.md tells it by message."""


def told(text: str, labels: Mapping[str, str], value: float | None = None) -> str:
    """A text with what the labels and the value say; a label that is not there is empty, as in Prometheus."""

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name == "value":
            return "unknown" if value is None else figure(value)
        if name == "remedy":
            return _remedy(labels.get(names.CAUSE, ""))
        said = labels.get(name, "")
        return f"{found[2] or ''}{said}" if said else ""

    return _PLACEHOLDER.sub(put, text)


def template(text: str) -> str:
    """A text as a template of Prometheus, which says the same as `told`."""

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name == "value":
            return _FIGURE
        if name == "remedy":
            return _remedies()
        label = f"$labels.{name}"
        return f"{{{{ {label} }}}}" if found[2] is None else f"{{{{ with {label} }}}}{found[2]}{{{{ . }}}}{{{{ end }}}}"

    return _PLACEHOLDER.sub(put, text)


def _remedy(cause: str) -> str:
    known = FailureClass(cause) if cause in set(FailureClass) else FailureClass.UNKNOWN
    return REMEDIES[known]


def _remedies() -> str:
    """A chain of conditions over the label `cause`."""
    chain = "".join(
        f'{{{{ {"else " if at else ""}if eq $labels.{names.CAUSE} "{known.value}" }}}}{remedy}'
        for at, (known, remedy) in enumerate(REMEDIES.items())
    )
    return f"{chain}{{{{ else }}}}{REMEDIES[FailureClass.UNKNOWN]}{{{{ end }}}}"
