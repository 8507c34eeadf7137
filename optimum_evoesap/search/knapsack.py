# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""An exact knapsack: how many experts go from each layer, so that the losses of the layers sum up to the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .allocation import Allocation


def cheapest(tables: Sequence[Mapping[int, float]], budget: int, unit: int = 1) -> Allocation:
    """The allocation of least loss among those that take one entry from each table and remove `budget` experts.

    Of equal ones that which takes more from the last layer, then from the one before it: the result is determined.

    Args:
        tables: For each layer the loss by removed count (multiples of `unit`).
        budget: Experts to remove in all (a multiple of `unit`).
        unit: Experts that go together.

    Raises:
        ValueError: No choice of entries removes that many.
    """
    size = budget // unit + 1
    # Least loss of the layers so far by units that they remove, and what the last of them then removes.
    least = np.full(size, np.inf)
    least[0] = 0.0
    taken = np.zeros((len(tables), size), dtype=np.int64)
    for place, table in enumerate(tables):
        best = np.full(size, np.inf)
        for count in sorted(table, reverse=True):
            shift = count // unit
            if shift >= size:
                continue
            through = np.full(size, np.inf)
            through[shift:] = least[: size - shift] + table[count]
            better = through < best
            best[better] = through[better]
            taken[place][better] = shift
        least = best
    if not np.isfinite(least[-1]):
        raise ValueError(f"No allocation within these limits removes {budget} experts.")
    counts, left = [], size - 1
    for place in reversed(range(len(tables))):
        counts.append(int(taken[place][left]) * unit)
        left -= int(taken[place][left])
    return tuple(reversed(counts))
