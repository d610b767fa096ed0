from __future__ import annotations

from controlplane.domain.observation import FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.loop.load import loads_of


def server(name: str, *pending: Signal[int], running: Signal[int] = Known(0, 1.0)) -> tuple[str, ServerReading]:  # noqa: B008 - frozen
    told = {
        str(n): Known(ModelReading(ModelState.READY, pending=one, running=running), 1.0)
        for n, one in enumerate(pending)
    }
    return name, ServerReading(name, Missing("x"), Missing("x"), 0, told)


def test_requests_that_wait_and_run_are_added_up_and_silence_is_no_load_of_nothing() -> None:
    servers = dict(
        [
            server("w/a", Known(2, 1.0), Known(1, 1.0), running=Known(3, 1.0)),
            server("w/b", Known(0, 1.0), running=Missing("not told")),
            server("w/silent", Known(1, 1.0), Missing("not told")),
            server("w/unread"),
            server("other/a", Known(9, 1.0)),
        ]
    )
    assert loads_of(FleetReading(1.0, servers, {}, {}, Missing("x")), "w") == {"a": 9.0, "b": 0.0}
