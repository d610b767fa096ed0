"""One kind of object kept current by list and watch, on a thread of its own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from controlplane.collect.kubernetes.api import ApiServer, Asked
from controlplane.collect.kubernetes.members import object_name
from controlplane.domain.errors import NotFoundError
from controlplane.kube.connection import ApiObject, ApiServerError

T = TypeVar("T")

_LONGEST_ASKED_S = 600.0
"""A server that asks to be left alone for longer is asked again all the same."""
_AT_ONCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an answer may take, how long one watch lasts, and the waits between attempts that failed.

    The wait doubles from `first_retry_s` to `longest_retry_s`, less up to half of it by chance; what a person has to
    change first (a right, a token) is tried again every `longest_retry_s`.
    """

    timeout_s: float = 10.0
    watch_s: int = 60
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Standing(Generic[T]):
    """What is known. `things` None: never listed. `live`: a watch is open, so that it is true now, else at `seen_at`.

    `why` says why not; empty between two watches.
    """

    things: tuple[T, ...] | None
    live: bool
    seen_at: float
    why: str


class Watched(Generic[T]):
    """Objects that `find` says to ask for, as `read` makes them.

    `changed` is called on the thread when they changed, and after the first attempt. The thread is a daemon: one that
    hangs in a call is left to the end of the process.
    """

    def __init__(
        self,
        name: str,
        find: Callable[[ApiServer], Asked],
        read: Callable[[ApiObject], T],
        *,
        connect: Callable[[], ApiServer],
        clock: Callable[[], float],
        pace: Pace,
        changed: Callable[[], None],
    ) -> None:
        self._find = find
        self._asked = Asked("", "", "")
        self._read = read
        self._connect = connect
        self._clock = clock
        self._pace = pace
        self._changed = changed
        self._lock = threading.Lock()
        self._things: dict[str, T] | None = None
        self._live = False
        self._seen_at = 0.0
        self._why = ""
        self._version = ""
        self._failures = 0
        self._api: ApiServer | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"controlplane-kubernetes-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end, whatever it waits for."""
        self._stopped.set()
        if (api := self._api) is not None:
            api.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, so long; one that was not started has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def standing(self) -> Standing[T]:
        """What is known just now."""
        with self._lock:
            things = None if self._things is None else tuple(self._things.values())
            return Standing(things, self._live, self._seen_at, self._why)

    def tried(self) -> bool:
        """Whether it was listed, or could not be."""
        return self._things is not None or bool(self._why)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if self._api is None:
                    self._api = self._connect()
                    continue  # it may have been stopped meanwhile
                if not self._version:
                    self._list(self._api)
                self._follow(self._api)
                self._failures = 0
            except ApiServerError as error:
                if error.refused:
                    self._disconnect()  # so that a new token or kubeconfig is read
                self._stopped.wait(self._failed(error))
            except NotFoundError as error:
                self._stopped.wait(self._failed(ApiServerError(str(error), refused=True)))
            except Exception as error:  # noqa: BLE001 - an object of a form that no API server has given so far
                self._stopped.wait(self._failed(ApiServerError(f"an object not understood ({type(error).__name__})")))
        self._disconnect()

    def _disconnect(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            api.close()

    def _list(self, api: ApiServer) -> None:
        """Replace what is known by what there is now."""
        self._asked = self._find(api)
        objects, version = api.objects(self._asked)
        things = {object_name(thing): self._read(thing) for thing in objects}
        with self._lock:
            self._things, self._version = things, version
            self._seen_at, self._why = self._clock(), ""
        self._tell()

    def _follow(self, api: ApiServer) -> None:
        """Apply changes until the watch ends."""
        began, any_came = time.monotonic(), False
        with closing(api.changes(self._asked, self._version, self._pace.watch_s, self._opened)) as changes:
            for kind, thing in changes:
                self._apply(kind, thing)
                self._failures, any_came = 0, True
        with self._lock:
            self._live, self._seen_at = False, self._clock()
        if not any_came and time.monotonic() - began < _AT_ONCE_S:
            raise ApiServerError(
                f"the watch of {self._asked.resource} in namespace {self._asked.namespace} ends at once"
            )

    def _opened(self) -> None:
        with self._lock:
            self._live, self._why = True, ""

    def _apply(self, kind: str, thing: ApiObject) -> None:
        version = str(thing["metadata"]["resourceVersion"])
        if kind == "BOOKMARK":
            self._version = version
            return
        name, read = object_name(thing), self._read(thing)
        with self._lock:
            known = self._things if self._things is not None else {}
            if kind == "DELETED":
                known.pop(name, None)
            else:
                known[name] = read
            self._version = version
        self._tell()

    def _failed(self, error: ApiServerError) -> float:
        """Remember why; gives the seconds to wait."""
        self._failures += 1
        with self._lock:
            if self._live:
                self._live, self._seen_at = False, self._clock()
            if error.gone:
                self._version = ""
            else:
                self._why = error.why
        self._tell()
        if error.gone and self._failures == 1:
            return 0.0
        if error.refused:
            longest = self._pace.longest_retry_s
        else:
            longest = min(self._pace.longest_retry_s, self._pace.first_retry_s * 2.0 ** min(self._failures - 1, 20))
        wait_s = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
        return max(wait_s, min(error.retry_after_s, _LONGEST_ASKED_S))

    def _tell(self) -> None:
        if not self._stopped.is_set():
            self._changed()
