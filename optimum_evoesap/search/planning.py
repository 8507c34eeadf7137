# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which allocations a configuration allows for a model; wrong ones fail here, before any work."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..adapters import MoELayer
from ..configuration import EvoESAPConfig
from .allocation import Allocation, AllocationSpace


logger = logging.getLogger(__name__)


def allocation_space(config: EvoESAPConfig, layers: Sequence[MoELayer]) -> AllocationSpace:
    """The allocations that a configuration and the sparse layers of a model allow.

    Args:
        config: Sparsity or removed counts, and the fewest experts to keep.
        layers: The sparse layers.

    Raises:
        ValueError: The sparsity cannot be reached, or the explicit counts are wrong; says what is possible.
    """
    num_experts = [layer.num_experts for layer in layers]
    min_kept = [max(layer.min_kept, config.min_experts or 0) for layer in layers]
    for layer in layers:
        if layer.unprunable_reason:
            logger.warning("Layer %d stays whole: %s.", layer.index, layer.unprunable_reason)
    for layer, kept in zip(layers, min_kept):
        if kept > layer.num_experts:
            raise ValueError(
                f"min_experts={config.min_experts} is more than the {layer.num_experts} experts of layer "
                f"{layer.index}; give a smaller number."
            )
    unit = max(layer.num_groups for layer in layers)
    indices = [layer.index for layer in layers]
    num_groups = tuple(layer.num_groups for layer in layers)
    if isinstance(config.allocation, str):
        space = AllocationSpace.from_sparsity(config.sparsity or 0.0, num_experts, min_kept, unit, indices)
        return replace(space, num_groups=num_groups)
    counts = explicit_counts(config.allocation, indices)
    space = AllocationSpace.from_limits(num_experts, min_kept, sum(counts), unit, indices)
    space.check(counts)
    return replace(space, num_groups=num_groups)


def fixed_allocation(config: EvoESAPConfig, space: AllocationSpace) -> Allocation | None:
    """The allocation that a configuration gives; `None` where it is searched.

    Args:
        config: The configuration.
        space: The allocations that it allows.
    """
    if config.is_searched:
        return None
    if isinstance(config.allocation, str):
        return space.uniform()
    return space.check(explicit_counts(config.allocation, space.layers))


def explicit_counts(allocation: Sequence[int] | Mapping[int, int], indices: Sequence[int]) -> list[int]:
    """Removed counts that a user gives, as a list with one for each sparse layer.

    Args:
        allocation: Such a list, or a dict from decoder layer to count; layers that it does not name stay whole.
        indices: Decoder-layer indices of the sparse layers.

    Raises:
        ValueError: A dict names a layer that is not sparse, or nothing is removed.
    """
    if isinstance(allocation, str):
        raise ValueError(f"The allocation {allocation!r} is a name; give removed counts here, one per sparse layer.")
    counts = list(allocation.values() if isinstance(allocation, Mapping) else allocation)
    if not any(counts):
        raise ValueError(f"The allocation {allocation} removes nothing; remove at least one expert from one layer.")
    if not isinstance(allocation, Mapping):
        return counts
    unknown = sorted(set(allocation) - set(indices))
    if unknown:
        raise ValueError(f"The allocation names the layers {unknown}; the sparse layers are {list(indices)}.")
    return [allocation.get(index, 0) for index in indices]
