# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Super experts: the few whose outputs are far larger than all others, and without which models break down.

After arXiv 2507.23279, where an expert is one if the largest absolute value in its output, over some data, is above
the 99.5th percentile of all experts and above a tenth of the largest, and its layer is one of the early ones where
massive activations begin. Here the largest L2 norm of an output stands for its largest value, of which such an output
consists nearly alone; and every layer counts, so that one expert in two hundred at most is protected without need.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import torch

from .statistics import ExpertStatistics


logger = logging.getLogger(__name__)

PERCENTILE = 0.995
SHARE_OF_LARGEST = 0.1


def super_experts(statistics: ExpertStatistics) -> dict[int, list[int]]:
    """The super experts of each layer that has some.

    Args:
        statistics: What each expert did on the calibration data.
    """
    largest = {layer: sums.norm_max for layer, sums in statistics.layers.items()}
    every = torch.cat(list(largest.values()))
    least = max(torch.quantile(every, PERCENTILE), SHARE_OF_LARGEST * every.max())
    found = {layer: (norms > least).nonzero()[:, 0].tolist() for layer, norms in largest.items()}
    return {layer: experts for layer, experts in found.items() if experts}


def with_super_experts(keep: Mapping[int, Collection[int]], statistics: ExpertStatistics) -> dict[int, list[int]]:
    """The experts that stay in any case, with the super experts among them.

    Args:
        keep: Those that a user names, by decoder layer.
        statistics: What each expert did on the calibration data.
    """
    found = super_experts(statistics)
    logger.info("Super experts, which stay: %s.", found or "none")
    return {layer: sorted({*keep.get(layer, ()), *found.get(layer, ())}) for layer in sorted({*keep, *found})}
