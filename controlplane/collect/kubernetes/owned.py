"""Who else sets the replicas of a workload: asked at intervals on a thread of its own, logged when that changes."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import structlog

from controlplane.collect.kubernetes.watch import Pace
from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.fleet import KubernetesQuery
from controlplane.kube.objects import Objects
from controlplane.kube.target import Owners, Target, owners_of

_log = structlog.get_logger(__name__)


class Ownership:
    """Of one workload. `changed` is called on the thread when the answer changed, and after the first attempt.

    While it cannot be told, what was known last stands, and why is a warning; acting asks again, right before.
    """

    def __init__(self, workload: str, query: KubernetesQuery, *, pace: Pace, changed: Callable[[], None]) -> None:
        self._workload = workload
        self._query = query
        self._pace = pace
        self._changed = changed
        self._known: Owners | None = None
        self._objects: Objects | None = None
        self._stopped = threading.Event()
        name = f"controlplane-kubernetes-{workload}-owners"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopped.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, so long; one that was not started has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def known(self) -> Owners:
        """The newest answer; of nobody before the first."""
        return self._known or Owners()

    def tried(self) -> bool:
        """Whether it was asked, or could not be."""
        return self._known is not None

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._take(self._ask())
            self._stopped.wait(self._pace.watch_s * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load
        self._disconnect()

    def _ask(self) -> Owners:
        query = self._query
        try:
            if self._objects is None:
                self._objects = Objects(query.kubeconfig, query.context, query.namespace, self._pace.timeout_s)
            return owners_of(self._objects, Target(query.kind, query.name, query.api_version))
        except Exception as error:  # noqa: BLE001 - an object of a form that no API server has given so far
            self._disconnect()  # so that a new token or kubeconfig is read
            why = str(error) if isinstance(error, ControlPlaneError) else type(error).__name__
            return Owners(self.known().owner, f"not known whether something else scales it: {why}")

    def _disconnect(self) -> None:
        objects, self._objects = self._objects, None
        if objects is not None:
            objects.close()

    def _take(self, found: Owners) -> None:
        if found == self._known or self._stopped.is_set():
            return
        before, self._known = self.known(), found
        if found.owner != before.owner:
            told = "something else scales a workload: it is told only" if found.owner else "nothing else scales it now"
            _log.warning(told, workload=self._workload, owner=found.owner or before.owner)
        if found.warning and found.warning != before.warning:
            _log.warning("a workload's replicas", workload=self._workload, warning=found.warning)
        self._changed()
