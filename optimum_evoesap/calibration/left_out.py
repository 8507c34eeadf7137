# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which experts of a layer are left out together, to measure what each of them is worth."""

from __future__ import annotations

from ..adapters import MoELayer
from .statistics import LayerStatistics


def experts_left_out(layer: MoELayer, statistics: LayerStatistics) -> list[tuple[int, ...]]:
    """For each expert of a layer, the experts that are left out when it is measured.

    That is the expert alone where the layer is one group. The groups of a layer must stay equal (those of a
    group-limited router, and the blocks under one count), so there it goes with the least used expert of each other
    group. All experts of a group have the same partners, and the pruning order compares them within their group only.

    Args:
        layer: The layer.
        statistics: What its experts did on the calibration data.

    Returns:
        Experts in ascending order, one tuple for each expert of the layer. The list is empty where the router would
        not work any more, so that the layer cannot lose an expert at all and their order does not matter.
    """
    num_groups = layer.num_groups
    if layer.num_experts - num_groups < layer.min_kept:
        return []
    size = layer.num_experts // num_groups
    used = statistics.routed_tokens.tolist()
    # The lowest index of those that are used equally little.
    least = [min(range(group * size, (group + 1) * size), key=used.__getitem__) for group in range(num_groups)]
    return [
        tuple(sorted({expert, *(partner for group, partner in enumerate(least) if group != expert // size)}))
        for expert in range(layer.num_experts)
    ]
