"""What was promised and how it went: pure, no I/O, no clock, no logging."""

from controlplane.slo.budget import judge, total
from controlplane.slo.indicators import close_slices

__all__ = ["close_slices", "judge", "total"]
