# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The budget of a size: the fewest experts to remove so that the checkpoint, as it will be written, is not larger."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

from .allocation import Allocation, AllocationSpace


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointSizes:
    """What the size of a checkpoint is made of.

    Attributes:
        whole: Bytes of that of the unpruned model.
        per_unit: For each sparse layer, bytes that go with the experts that go together.
        is_estimate: Whether the number format of some weights is not known yet.
    """

    whole: int
    per_unit: tuple[int, ...]
    is_estimate: bool = False


def budget_for_size(
    target: int, sizes: CheckpointSizes, space: AllocationSpace, step: int, any_allocation: bool
) -> int:
    """The smallest budget whose checkpoint is at most so large.

    Args:
        target: Bytes.
        sizes: What the size is made of.
        space: The limits of each layer; its budget does not count.
        step: What a budget is a multiple of.
        any_allocation: Whether every allocation of the budget must be so small, and not only the uniform one. That
            makes a difference where the experts of one layer are larger than those of another.

    Raises:
        ValueError: The model is that small already, or cannot become so small; says what is possible.
    """
    needed = max(sizes.whole - target, 1 if sizes.is_estimate else 0)
    if needed < 1:
        raise ValueError(
            f"target_size={target} bytes is not less than the {sizes.whole} bytes of the unpruned checkpoint: nothing "
            "has to go."
        )
    per_unit = [size for size, limit in zip(sizes.per_unit, space.max_removed) if limit]
    if any_allocation and len(set(per_unit)) > 1:
        logger.info("Some layers have larger experts than others; so many go that any allocation is small enough.")
    first = math.ceil(needed / max(per_unit, default=1)) * space.unit
    for budget in range(math.ceil(first / step) * step, sum(space.max_removed) + 1, step):
        if _removed_bytes(replace(space, budget=budget), sizes, any_allocation) >= needed:
            return budget
    most = replace(space, budget=sum(space.max_removed) // step * step)
    least = sizes.whole - (_removed_bytes(most, sizes, any_allocation) if most.budget else 0)
    raise ValueError(
        f"target_size={target} bytes cannot be reached: with the fewest experts that each layer must keep (by its "
        f"router, min_experts and keep) the checkpoint has {least} bytes of the {sizes.whole} before."
    )


def _removed_bytes(space: AllocationSpace, sizes: CheckpointSizes, any_allocation: bool) -> int:
    allocation = _smallest_removal(space, sizes) if any_allocation else space.uniform()
    return sum(count // space.unit * size for count, size in zip(allocation, sizes.per_unit))


def _smallest_removal(space: AllocationSpace, sizes: CheckpointSizes) -> Allocation:
    """The allocation of the budget that frees the fewest bytes: all from the layers with the smallest experts."""
    left, counts = space.budget, [0] * len(space.max_removed)
    for position in sorted(range(len(counts)), key=lambda each: sizes.per_unit[each]):
        counts[position] = min(left, space.max_removed[position])
        left -= counts[position]
    return tuple(counts)
