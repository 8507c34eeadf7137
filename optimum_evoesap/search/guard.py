# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guard: an allocation is compared with the uniform one on windows that the search never saw."""

from __future__ import annotations

import logging

from ..configuration import EvoESAPConfig
from ..fitness.window_scores import WindowScores
from .candidate import Candidate
from .scoring import CandidateScorer


logger = logging.getLogger(__name__)


def compare_with_uniform(
    scorer: CandidateScorer, best: Candidate, uniform: Candidate, config: EvoESAPConfig
) -> dict[str, WindowScores]:
    """The scores of an allocation and of the uniform one on held-out windows, with a warning where it is not better.

    Args:
        scorer: Scores on the held-out windows.
        best: The candidate of the allocation.
        uniform: That of the uniform one.
        config: Says where the allocation comes from.
    """
    scores = {"holdout_best": scorer.score(best)}
    scores["holdout_uniform"] = scores["holdout_best"] if best == uniform else scorer.score(uniform)
    means = [each.mean for each in scores.values()]
    if means[0] <= means[1] and (config.is_searched or best != uniform):
        logger.warning(
            "The allocation %s does not beat the uniform one on held-out windows (%s %.4f against %.4f).",
            "given" if config.is_explicit else "found",
            config.fitness,
            *means,
        )
    return scores
