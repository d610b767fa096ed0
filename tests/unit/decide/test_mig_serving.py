"""What copies serve that share a slice: its time goes as it is asked for."""

from __future__ import annotations

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.worth import served_now

H100 = boards()["h100-80gb"]
ONE, TWO = Slice("3g.40gb", 0), Slice("3g.40gb", 4)


def served(a: float, b: float, *, alone: bool = False) -> dict[str, float]:
    """Of two models on one slice, each of which could serve 10/s there; or of which `a` has another for itself."""
    on = {ONE: ("a", "b")} | ({TWO: ("a",)} if alone else {})
    models = tuple(MigModel(name, asked, {"3g.40gb": 10.0}, 6.0, share=True) for name, asked in (("a", a), ("b", b)))
    return dict(served_now(MigQuestion((Gpu("GPU-0", H100, (ONE, TWO), 1.0, on),), models)))


def test_nobody_is_short_on_a_slice_that_has_time_enough_for_all() -> None:
    assert served(9.0, 1.0) == {"a": 9.0, "b": 1.0}
    assert served(4.0, 1.0) == {"a": 8.0, "b": 2.0}


def test_where_it_has_not_all_are_short_alike() -> None:
    assert served(18.0, 2.0) == {"a": 9.0, "b": 1.0}


def test_a_model_with_another_slice_takes_less_of_the_one_that_is_shared() -> None:
    assert served(10.0, 5.0, alone=True) == {"a": 15.0, "b": 5.0}


def test_time_that_nobody_asks_for_is_shared_evenly() -> None:
    assert served(0.0, 0.0) == {"a": 5.0, "b": 5.0}
