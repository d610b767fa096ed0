"""What the decider remembers of workloads that are scaled, on every store."""

from __future__ import annotations

from controlplane.decide.forecast import Reading
from controlplane.decide.replicas.seasons import learned
from controlplane.domain.state import BatchSum, DemandPoint, PolicyState, Service, TokenSums, UnitState, WorkloadState
from controlplane.store import SqlStore
from tests.contract.values import NOW, a_tick

WORKLOAD = WorkloadState(
    services={
        "m": Service(
            TokenSums(tuple(0.1 * n for n in range(16)), (1.0, 2.0, 1 / 3, 4.0), 17.25),
            (BatchSum(4, 1, 12.5, 0.3),),
            {"fleet/a": NOW, "fleet/b": NOW - 5.0},
        )
    },
    history=(DemandPoint(NOW - 15.0, 2.5, 2.75), DemandPoint(NOW, 3.0, 3.5)),
    startups=(93.5, 101.0),
    ready=frozenset({"fleet/a 1", "fleet/b 2"}),
    wanted=((NOW - 15.0, 3), (NOW, 4)),
    asked=4,
    used_at=NOW,
    blind_since=NOW - 60.0,
    refused=2,
    retry_at=NOW + 30.0,
    starting={"fleet/c 3": NOW - 5.0},
    gone_since=NOW,
)


def test_workloads_come_back_equal_and_what_is_foretold_is_not_kept(store: SqlStore) -> None:
    foretold = learned([Reading(60.0, 3.0, 3.0), Reading(120.0, 4.0, 4.0)])
    state = PolicyState({"m@t0": UnitState(wanted=True)}, {"fleet": WORKLOAD}, {"fleet": foretold})
    store.write_tick(a_tick(state=state))
    assert store.load_state() == PolicyState(state.units, state.workloads, {})
