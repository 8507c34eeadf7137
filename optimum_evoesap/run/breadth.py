# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Warnings where the data of a run look narrow: what they say of the experts may not hold for other data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ..adapters import MoELayer
from ..calibration.statistics import ExpertStatistics
from ..data import TokenizedData


logger = logging.getLogger(__name__)

# A mean over fewer tokens says little of an expert.
FEW_TOKENS = 8
# Share of the experts of which little may be known: those that the router of a model hardly uses at all.
MOST_HARDLY_REACHED = 0.1


def warn_of_experts_hardly_reached(statistics: ExpertStatistics, layers: Sequence[MoELayer]) -> None:
    """Warn where too many experts got too few tokens of the calibration data to be ordered by them.

    Blocks that no token reached are left out: the observer names each of them.

    Args:
        statistics: What the experts did.
        layers: The sparse layers from which experts may go.
    """
    counts = [
        count
        for layer in layers
        for block in statistics.layers[layer.index].routed_tokens.chunk(len(layer.blocks))
        if block.any()
        for count in block.tolist()
    ]
    few = sum(count < FEW_TOKENS for count in counts)
    if few > MOST_HARDLY_REACHED * len(counts):
        logger.warning(
            "%d of %d experts (%.0f%%) got fewer than %d of the %s calibration tokens, so their places in the pruning "
            "order are little more than chance. Give more calibration data (calibration_samples), or broader ones: a "
            "mixture name:samples,name:samples of what the model is for.",
            few,
            len(counts),
            100 * few / len(counts),
            FEW_TOKENS,
            f"{statistics.num_tokens:,}",
        )


def warn_of_one_domain(data: Mapping[str, TokenizedData]) -> None:
    """Warn where the search data are of one domain and the calibration data of several.

    Args:
        data: The data of a run, by kind.
    """
    calibration, search = data.get("calibration"), data.get("search")
    if calibration is None or search is None or search.domains is None:
        return
    searched, known = dict.fromkeys(search.domains), dict.fromkeys(calibration.mixture)
    if len(searched) == 1 and known:
        logger.warning(
            "The search data are of %s alone, the calibration data of %d domains (%s): the allocation will suit the "
            "former, perhaps at the cost of the others. Where the model is for all of them, give a mixture "
            "name:samples,name:samples as search data.",
            *searched,
            len(known),
            ", ".join(known),
        )
