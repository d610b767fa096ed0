"""What an API server is made to do wrong, and to which requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Fault:
    """Meets requests by verb and resource ("": any), `times` of them (None: until healed)."""

    code: int = 0
    """The answer; 0: none, the request hangs until it is healed."""
    late: bool = False
    """One that hung is answered then, by what there is then."""
    verb: str = ""
    resource: str = ""
    times: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    body: bytes | None = None
    """In place of a Status object."""

    def meets(self, verb: str, resource: str) -> bool:
        return self.times != 0 and self.verb in {"", verb} and self.resource in {"", resource}


class Faults:
    """Those in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._healed = threading.Event()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)
            self._healed = threading.Event()

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()
            self._healed.set()

    def meeting(self, verb: str, resource: str) -> tuple[Fault, threading.Event] | None:
        """The first fault that meets a request, and what is set when it is healed."""
        with self._lock:
            for fault in self._faults:
                if fault.meets(verb, resource):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault, self._healed
        return None
