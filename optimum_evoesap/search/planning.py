# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which allocations a configuration allows for a model; wrong ones fail here, before any work."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedModel

from ..adapters import MoELayer
from ..byte_size import parse_size
from ..configuration import EvoESAPConfig
from ..models.size import checkpoint_size, removable_sizes
from .allocation import Allocation, AllocationSpace
from .nothing_to_remove import check_routing, why_none_can_go
from .size_limit import CheckpointSizes, budget_for_size


logger = logging.getLogger(__name__)


def allocation_space(
    config: EvoESAPConfig, layers: Sequence[MoELayer], model: PreTrainedModel | None = None
) -> AllocationSpace:
    """The allocations that a configuration and the sparse layers of a model allow.

    Args:
        config: Sparsity, size or removed counts, the fewest experts to keep, and those that stay.
        layers: The sparse layers.
        model: The model that they are of; needed for a size. On the meta device, where all its weights have one dtype,
            a size is an estimate, and refused only where it is too small in any case.

    Raises:
        ValueError: The sparsity or size cannot be reached, the explicit counts are wrong, or other layers or experts
            are named; says what is possible.
    """
    space = limits_of(config, layers)
    if not isinstance(config.allocation, str):
        counts = explicit_counts(config.allocation, space.layers)
        space = replace(space, budget=sum(counts))
        space.check(counts)
    elif config.target_size is not None:
        space = replace(space, budget=_budget_for_size(config, space, layers, model))
    else:
        space = space.with_sparsity(config.sparsity or 0.0)
    return with_uniform_counts(space, config) if config.uniform_counts else space


def limits_of(config: EvoESAPConfig, layers: Sequence[MoELayer]) -> AllocationSpace:
    """The limits of each layer, as a space that has no budget yet.

    Args:
        config: The fewest experts to keep, and those that stay.
        layers: The sparse layers.

    Raises:
        ValueError: More experts are to be kept or routed to than there are, no layer has one to lose, or other layers
            or experts are named; says which of these it is.
    """
    protected = protected_experts(config, layers)
    num_experts, indices = [layer.num_experts for layer in layers], [layer.index for layer in layers]
    unit = math.lcm(*(layer.num_groups for layer in layers))
    for layer in layers:
        if layer.unprunable_reason:
            logger.warning("Layer %d stays whole: %s.", layer.index, layer.unprunable_reason)
    least = _min_kept(config, layers, protected)
    space = AllocationSpace.from_limits(num_experts, least, 0, unit, indices)
    if not any(space.max_removed):
        raise ValueError(why_none_can_go(layers, least, config.min_experts))
    return replace(space, num_groups=tuple(layer.num_groups for layer in layers), protected=protected)


def protected_experts(config: EvoESAPConfig, layers: Sequence[MoELayer]) -> tuple[frozenset[int], ...]:
    """The experts of each sparse layer that a configuration keeps in any case; empty where it names none.

    Args:
        config: The configuration.
        layers: The sparse layers.

    Raises:
        ValueError: It names a layer that is not sparse, or an expert that is not there.
    """
    if not config.keep:
        return ()
    indices = [layer.index for layer in layers]
    unknown = sorted(set(config.keep) - set(indices))
    if unknown:
        raise ValueError(f"keep names the layers {unknown}; the sparse layers are {indices}.")
    for layer in layers:
        absent = [expert for expert in config.keep.get(layer.index, ()) if expert >= layer.num_experts]
        if absent:
            raise ValueError(
                f"keep names the experts {absent} of layer {layer.index}, which has those from 0 to "
                f"{layer.num_experts - 1}."
            )
    return tuple(frozenset(config.keep.get(index, ())) for index in indices)


def _min_kept(config: EvoESAPConfig, layers: Sequence[MoELayer], protected: Sequence[frozenset[int]]) -> list[int]:
    """Fewest experts of each layer: what its router needs, `min_experts`, and as many from each group as are kept."""
    for layer in layers:
        check_routing(layer)
        if (config.min_experts or 0) > layer.num_experts:
            raise ValueError(
                f"min_experts={config.min_experts} is more than the {layer.num_experts} experts of layer "
                f"{layer.index}; give a smaller number."
            )
    least = [min(max(layer.min_kept, config.min_experts or 0), layer.num_experts) for layer in layers]
    for position, (layer, kept) in enumerate(zip(layers, protected)):
        size = layer.num_experts // layer.num_groups
        in_groups = [sum(expert // size == group for expert in kept) for group in range(layer.num_groups)]
        least[position] = max(least[position], max(in_groups) * layer.num_groups)
    return least


def _budget_for_size(
    config: EvoESAPConfig, space: AllocationSpace, layers: Sequence[MoELayer], model: PreTrainedModel | None
) -> int:
    if model is None or config.target_size is None:
        raise ValueError(f"target_size={config.target_size!r} needs the model whose checkpoint it is about.")
    is_estimate = any(layer.is_on_meta for layer in layers)
    # So many from each block: blocks of a layer lose as many experts as each other.
    per_unit = [size * space.unit // len(layer.blocks) for size, layer in zip(removable_sizes(model, layers), layers)]
    sizes = CheckpointSizes(checkpoint_size(model), tuple(per_unit), is_estimate)
    step = space.unit * (len(layers) if config.uniform_counts else 1)
    return budget_for_size(parse_size(config.target_size), sizes, space, step, config.is_searched)


def with_uniform_counts(space: AllocationSpace, config: EvoESAPConfig) -> AllocationSpace:
    """The one allocation that takes as many experts from every layer, as a space.

    Args:
        space: The space of all allocations of the same budget.
        config: Removed counts, where it gives them.

    Raises:
        ValueError: There is no such allocation; says why.
    """
    if len(set(space.num_experts)) > 1:
        raise ValueError(
            "uniform_counts=True leaves one number of experts in every sparse layer, but they have "
            f"{space.num_experts} now: leave it out, or give the removed counts as allocation."
        )
    count, rest = divmod(space.budget, len(space.layers))
    given = [] if isinstance(config.allocation, str) else explicit_counts(config.allocation, space.layers)
    if rest or len(set(given)) > 1:
        raise ValueError(f"uniform_counts=True, but the allocation removes {given} experts; give equal numbers.")
    for layer, limit in zip(space.layers, space.max_removed):
        if limit < count:
            raise ValueError(
                f"uniform_counts=True would remove {count} experts from every sparse layer, but layer {layer} can "
                f"lose only {limit}, so that it keeps what its router needs, min_experts and keep: remove fewer."
            )
    return replace(space, max_removed=(count,) * len(space.layers))


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
