"""What to do next for a node, from what it shows alone: so a change goes on after a crash at any point.

mig-manager answers in the label `nvidia.com/mig.config.state`: pending, rebooting, success or failed. It can stay
pending for ever, says success at once and without pending where nothing is to be done, and failed without pending
where its copy of the ConfigMap has no such entry yet. We take its last answer away as we set the label, and take no
success for one unless the GPUs are cut so and the node offers it.
https://github.com/NVIDIA/mig-parted (pkg/mig/reconfigure)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controlplane.act.mig.operator.cuts import Cuts, names_of
from controlplane.act.mig.operator.draining import Drain
from controlplane.act.mig.operator.journal import ANNOTATION, Journal, Phase, journal_of
from controlplane.kube.connection import ApiObject

LABEL = "nvidia.com/mig.config"
STATE = "nvidia.com/mig.config.state"
STRATEGY = "nvidia.com/mig.strategy"
_BUSY = {"pending", "rebooting"}


class Do(StrEnum):
    """What to do."""

    WAIT = "wait"
    BEGIN = "begin"
    """Cordon the node."""
    EVICT = "evict"
    """Ask pods to go."""
    LABEL = "label"
    """Give mig-manager the word."""
    FINISH = "finish"
    """It is done: uncordon the node."""
    REFUSE = "refuse"
    """It cannot be; nothing was changed."""
    GIVE_UP = "give_up"
    """It failed before a GPU was touched: uncordon the node."""
    FAIL = "fail"
    """It failed: the node stays cordoned."""
    HOLD = "hold"
    """A person forbids it, and no GPU was touched: uncordon the node where we cordoned it."""
    LEAVE = "leave"
    """It is not ours any more: write nothing."""


@dataclass(frozen=True, slots=True)
class Next:
    """What to do, and why."""

    do: Do
    why: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, in seconds, is waited for pods to go and for mig-manager.

    `change_s`: it gives each of five kinds of pods 5 min, and a reboot comes on top. `propagate_s`: a kubelet shows a
    changed ConfigMap to mig-manager only after a while.
    """

    drain_s: float = 600.0
    change_s: float = 2400.0
    propagate_s: float = 180.0


@dataclass(frozen=True, slots=True)
class View:
    """A node as it is, and what is wanted of it.

    `cuts` None: not told now. `drain`: who has its GPUs. `pending_seen`: since the label was set, by this process.
    `models` that the change touches, None: not told. `held`: why a person forbids it, empty: nobody does. `stopped`:
    why this process may do nothing more, empty: it may. `begun`: it was, as this process saw.
    """

    node: ApiObject
    wanted: Cuts
    resources: Mapping[str, int]
    cuts: Cuts | None
    drain: Drain
    now: float
    pending_seen: bool
    models: tuple[str, ...] | None = None
    held: str = ""
    stopped: str = ""
    begun: bool = False

    @property
    def name(self) -> str:
        """Of the node."""
        return str(self.node["metadata"]["name"])

    @property
    def label(self) -> str:
        """The configuration that the label asks for."""
        return label_of(self.node, LABEL)

    @property
    def state(self) -> str:
        """mig-manager's answer, empty: none."""
        return label_of(self.node, STATE)

    @property
    def journal(self) -> Journal | None:
        """The change that is under way, or failed."""
        return journal_of(self.node)

    @property
    def offered(self) -> dict[str, int]:
        """What the device plugin offers."""
        told = (self.node.get("status") or {}).get("allocatable") or {}
        names = (name for name in told if name == "nvidia.com/gpu" or name.startswith("nvidia.com/mig-"))
        return {name: int(told[name]) for name in sorted(names) if int(told[name])}

    @property
    def lacking(self) -> str:
        """What is not so yet, empty: it is done."""
        if self.cuts is None:
            return "nobody tells how its GPUs are cut"
        if self.cuts != self.wanted:
            return "its GPUs are not cut so"
        names = sorted({*self.resources, *self.offered})
        wrong = [(n, self.offered.get(n, 0), self.resources.get(n, 0)) for n in names]
        return ", ".join(f"{n} is {there}, not {wanted}" for n, there, wanted in wrong if there != wanted)


def label_of(node: ApiObject, key: str) -> str:
    """The value of a label, empty: none."""
    return str((node["metadata"].get("labels") or {}).get(key, ""))


def is_busy(node: ApiObject) -> bool:
    """Whether mig-manager is at work on it, as far as it tells."""
    return label_of(node, STATE) in _BUSY


def at_work_for_others(node: ApiObject) -> str:
    """What mig-manager is at work on that we did not ask for, empty: nothing."""
    journal, label = journal_of(node), label_of(node, LABEL)
    if not is_busy(node) or (journal is not None and journal.config == label):
        return ""
    return f"mig-manager is at work on {label or 'no configuration'} ({label_of(node, STATE)})"


def is_under_way(node: ApiObject, now: float, limits: Limits) -> bool:
    """Whether mig-manager is at work on what we asked for, and still has time."""
    journal = journal_of(node)
    if journal is None or not is_busy(node) or journal.phase is Phase.FAILED:
        return False
    return now - journal.since <= limits.change_s


def next_step(view: View, limits: Limits) -> Next:
    """The next step of the change."""
    if view.stopped:
        return Next(Do.LEAVE, f"{view.stopped}; node {view.name} is left to it as it is")
    journal = view.journal
    if journal is None or journal.phase is Phase.FAILED or journal.config not in names_of(view.wanted):
        return _first(view)
    if journal.phase is Phase.DRAINING:
        return _draining(view, journal, limits)
    return _changing(view, journal, limits)


def _first(view: View) -> Next:
    """Nothing was done yet for what is wanted now, or nothing is left of it."""
    is_so = view.state in {"success", ""} and not view.lacking
    if view.begun and view.journal is None and not is_so:
        return Next(Do.LEAVE, f"somebody let go of it: node {view.name} has no annotation {ANNOTATION} any more")
    if foreign := at_work_for_others(view.node):
        return Next(Do.REFUSE, foreign)
    if is_so:
        return Next(Do.FINISH, "it is cut so already")
    if view.held:
        return Next(Do.HOLD, view.held)
    if view.drain.alone and view.cuts != view.wanted:
        return Next(Do.REFUSE, _alone(view))
    return Next(Do.BEGIN)


def _draining(view: View, journal: Journal, limits: Limits) -> Next:
    if view.held:
        return Next(Do.HOLD, view.held)
    if not view.drain.pods or view.cuts == view.wanted:  # nobody has to go where nothing is cut anew
        return Next(Do.LABEL)
    if view.drain.alone:
        return Next(Do.GIVE_UP, _alone(view))
    if view.now - journal.since > limits.drain_s:
        return Next(Do.GIVE_UP, f"after {limits.drain_s:g} s pods still hold its GPUs: ")
    return Next(Do.EVICT)


def _changing(view: View, journal: Journal, limits: Limits) -> Next:
    """mig-manager has the word, and nobody can take it back: whatever people say, this goes to its end."""
    if view.label not in names_of(view.wanted):
        return Next(Do.FAIL, f"somebody set {LABEL} to {view.label or 'nothing'} meanwhile")
    if view.state == "success" and not view.lacking:
        return Next(Do.FINISH)
    elapsed_s = view.now - journal.since
    if view.state == "failed":
        unread = not view.pending_seen and elapsed_s < limits.propagate_s
        return Next(Do.LABEL) if unread else Next(Do.FAIL, f"mig-manager says failed of {view.label}")
    if elapsed_s <= limits.change_s:
        return Next(Do.WAIT)
    within = f"within {limits.change_s:g} s"
    if view.state == "success":
        lacks = f"the node did not offer what was asked for: {view.lacking}"
        return Next(Do.FAIL, f"mig-manager says success, but {within} {lacks}")
    last = f"last {view.state}" if view.state else "and no state at all"
    return Next(Do.FAIL, f"mig-manager said nothing final of {view.label} {within}, {last}")


def _alone(view: View) -> str:
    return f"pods that nobody would make again hold its GPUs: {', '.join(view.drain.alone)}"
