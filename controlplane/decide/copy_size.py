"""What a copy of a model takes by its instances, from what a server's memory was seen to differ by.

A copy takes something for itself and something for each instance. Where only one of several counts was seen it is not
known which is which, so what may be is taken: all of it for the instances where there are to be more, all of it for
the copy where there are to be fewer. Unknown is unknown, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from controlplane.domain.state import MemorySample


@dataclass(frozen=True, slots=True)
class CopySize:
    """Bytes of a copy. `declared`: whatever its instances; None: as it was measured, if it was.

    `whole` by the instances with which it was seen to come or go. One instance more takes at most `more_bytes`, None:
    not known; one fewer gives back `fewer_bytes`. `apart`: what one took or gave back, each time that instances were
    seen to come or go apart from their copy.
    """

    declared: int | None = None
    whole: Mapping[int, int] = field(default_factory=dict)
    more_bytes: int | None = None
    fewer_bytes: int = 0
    apart: tuple[float, ...] = ()

    def of(self, instances: int) -> int | None:
        """A copy with so many; None: not known."""
        if self.declared is not None or not self.whole:
            return self.declared
        seen = max((count for count in self.whole if count <= instances), default=None)
        if seen is not None:
            return self.whole[seen] + (instances - seen) * (self.more_bytes or 0)
        seen = min(self.whole)
        return self.whole[seen] - (seen - instances) * self.fewer_bytes

    def between(self, before: int, after: int) -> int | None:
        """What a raise from so many to so many takes; None: not known.

        What was seen of whole copies alone does not say: a raise that it refused could never teach better.
        """
        if self.declared is not None or after <= before:
            return 0
        return (after - before) * self.more_bytes if self.apart and self.more_bytes is not None else None


UNKNOWN = CopySize()


def measured(samples: Iterable[MemorySample]) -> CopySize:
    """By what was seen of late, of which the most counts: servers free memory late, or not at all.

    What raises were seen to take counts in place of what loads with several counts differed by.
    """
    whole: dict[int, int] = {}
    raises: list[float] = []
    lowered: list[float] = []
    for sample in samples:
        low, high = sorted((sample.before, sample.after))
        if low == 0:
            whole[high] = max(whole.get(high, 0), sample.size_bytes)
        else:
            each = sample.size_bytes / (high - low)
            (raises if sample.after == high else lowered).append(each)
    raises = raises or [
        (whole[many] - whole[few]) / (many - few) for few, many in pairwise(sorted(whole)) if whole[many] > whole[few]
    ]
    share = min((size / count for count, size in whole.items()), default=None)
    seen = [*raises, *lowered]
    most = max(seen, default=share)
    if not raises and share is not None and most is not None:
        most = max(most, share)  # what was lowered may have freed less than it had
    fewer = min(seen, default=0.0) if share is None else min([*seen, share]) if seen else 0.0
    return CopySize(None, whole, None if most is None else math.ceil(most), math.floor(fewer), apart=tuple(seen))
