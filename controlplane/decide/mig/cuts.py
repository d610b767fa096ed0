"""Rows that whole copies satisfy and shares of copies do not: they make the relaxation tighter.

Copies of a model serve its demand where sum_o gain_o y_o >= 1. Times t, and rounded up, that holds for whole y too:
sum_o ceil(t gain_o) y_o >= ceil(t) for every t > 0 (Chvatal, Gomory; Nemhauser, Wolsey: Integer and Combinatorial
Optimization, 1988, II.1). For a t that is a multiple of some 1 / gain_o the row is among the strongest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MULTIPLES = np.arange(1, 9)
_LARGEST = 40.0
_LEAST_VIOLATION = 1e-3
_ROWS = 2

Vector = NDArray[np.float64]


def violated(gain: Vector, copies: Vector) -> list[tuple[Vector, float]]:
    """The rows of one model that its copies violate the most: coefficients, and what they come to at least."""
    times = np.unique(np.outer(_MULTIPLES, 1 / gain))
    times = times[(times >= 1.0) & (times <= _LARGEST)]
    least = np.ceil(times - 1e-9)
    rows = np.minimum(np.ceil(np.outer(times, gain) - 1e-9), least[:, None])
    by = (least - rows @ copies) / np.linalg.norm(rows, axis=1)
    worst = [i for i in np.argsort(-by, kind="stable")[:_ROWS] if by[i] > _LEAST_VIOLATION]
    return [(rows[i], float(least[i])) for i in worst]
