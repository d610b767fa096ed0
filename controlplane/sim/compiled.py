"""How parts of kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., object])


def part(function: _Function) -> _Function:
    """Compiles for calls from compiled code only.

    The way in from Python, which unpacks every array of a state, is left out: it takes most of the time to compile.
    """
    compiled: _Function = njit(no_cpython_wrapper=True)(function)  # type: ignore[call-overload]
    return compiled
