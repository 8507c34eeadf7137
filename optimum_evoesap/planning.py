# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which allocations a configuration allows for a model; wrong ones fail here, before any work."""

from __future__ import annotations

from collections.abc import Sequence

from .adapters import MoELayer
from .allocation import AllocationSpace
from .configuration import EvoESAPConfig


def allocation_space(config: EvoESAPConfig, layers: Sequence[MoELayer]) -> AllocationSpace:
    """The allocations that a configuration and the sparse layers of a model allow.

    Raises:
        ValueError: The sparsity cannot be reached, or the explicit counts are wrong; says what is possible.
    """
    num_experts = [layer.num_experts for layer in layers]
    min_kept = [max(layer.min_kept, config.min_experts or 0) for layer in layers]
    too_many = [layer.index for layer, kept in zip(layers, min_kept) if kept > layer.num_experts]
    if too_many:
        raise ValueError(f"min_experts={config.min_experts} is more than the layers {too_many} have ({num_experts}).")
    unit = max(layer.num_groups for layer in layers)
    if config.sparsity is not None:
        return AllocationSpace.from_sparsity(config.sparsity, num_experts, min_kept, unit)
    counts = explicit_counts(config, layers)
    space = AllocationSpace.from_limits(num_experts, min_kept, sum(counts), unit)
    space.check(counts)
    return space


def explicit_counts(config: EvoESAPConfig, layers: Sequence[MoELayer]) -> list[int]:
    """The removed counts that the user gave, one per sparse layer.

    Raises:
        ValueError: A dict names a layer that is not sparse.
    """
    if isinstance(config.allocation, list):
        return list(config.allocation)
    assert isinstance(config.allocation, dict)  # callers ask only for explicit counts
    indices = [layer.index for layer in layers]
    unknown = sorted(set(config.allocation) - set(indices))
    if unknown:
        raise ValueError(f"The allocation names the layers {unknown}; the sparse layers are {indices}.")
    return [config.allocation.get(index, 0) for index in indices]
