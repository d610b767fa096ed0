"""A deadline for calls of a library that blocks, and has one only for each wait on its socket."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

T = TypeVar("T")
_Outcome: TypeAlias = tuple[object, BaseException | None]


class Within:
    """Runs calls one after the other, each on a named thread that nobody waits for longer than `timeout_s`.

    A call that hangs is left alone, and no second thread is started beside it: until it returns, others are refused.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` gives or raises. Raises TimeoutError when it does not end in time, or one before it hangs."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(self._timeout_s)
            if self._thread.is_alive():
                raise TimeoutError("an earlier call still hangs")
        answer: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        # A daemon, since a thread that hangs in a library must not keep the process from ending.
        self._thread = threading.Thread(target=lambda: answer.put(_outcome(work)), name=self._name, daemon=True)
        self._thread.start()
        try:
            value, error = answer.get(timeout=self._timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from None
        if error is not None:
            raise error
        return cast("T", value)


def _outcome(work: Callable[[], object]) -> _Outcome:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised where the call was made
        return None, error
