"""How long slices wait for their sources: each model for its own."""

from __future__ import annotations

from controlplane.domain.fleet import Fleet, Mode, ModelSpec, Ports, ServerKind, ServerSpec, TargetsQuery, WorkloadSpec
from controlplane.domain.objectives import CounterRatio, Indicator, IndicatorSource, Objective, Selector
from controlplane.domain.sources import GatewaySpec, PrometheusSpec, Through
from controlplane.slo.grace import Grace

SERVER = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)
EDGE = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.GATEWAY, gateway="edge")
ANY_GATEWAY = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.GATEWAY)
ANY = Selector("a", "a")
ORDERS = Objective(
    Indicator.RATIO, 0.99, 86400.0, IndicatorSource.PROMETHEUS, ratio=CounterRatio("orders", "slow", ANY, bad=ANY)
)
SLOW = Through("slow", (("job", "j"),))


def model(name: str, *objectives: Objective, on: str = "direct", workloads: tuple[str, ...] = ()) -> ModelSpec:
    return ModelSpec(name, name, (on,) if on else (), Mode.OBSERVE, objectives, workloads=workloads)


def gateway(name: str, through: Through | None = None) -> GatewaySpec:
    return GatewaySpec(name, "", "h", "model", "", "5..", through=through)


def test_only_models_whose_sources_are_slow_wait_for_them() -> None:
    fleet = Fleet(
        (
            ServerSpec("direct", ServerKind.VLLM, "http://d", "http://d"),
            ServerSpec("asked", ServerKind.VLLM, "http://a", "", through=SLOW),
        ),
        (
            model("plain", SERVER),
            model("served", SERVER, on="asked"),
            model("counted", ORDERS),
            model("edge", EDGE),
            model("any", ANY_GATEWAY),
            model("found", SERVER, on="", workloads=("w",)),
        ),
        (gateway("edge"), gateway("mesh", SLOW)),
        prometheus=(
            PrometheusSpec("slow", "http://p", 10.0, interval_s=300.0),
            PrometheusSpec("other", "http://o", 5.0),
        ),
        workloads=(WorkloadSpec("w", ServerKind.VLLM, TargetsQuery("other", ()), Ports(8000, 0, 8000)),),
    )
    assert Grace(5.0, 2.0).of_models(fleet) == {
        "plain": 10.0,
        "served": 315.0,
        "counted": 315.0,
        "edge": 10.0,
        "any": 315.0,
        "found": 25.0,
    }
