# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Find the allocation of a run: by its strategy on the search data, then compared on held-out data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..calibration.criteria import PruningOrder
from ..configuration import EvoESAPConfig
from ..fitness.window_scores import WindowScores
from ..models.batching import Batch
from ..models.sparse_model import SparseModel
from .allocation import AllocationSpace
from .candidate import Candidate
from .guard import compare_with_uniform
from .loop import run_search
from .planning import fixed_allocation
from .scoring import CandidateScorer
from .strategies import STRATEGIES, FixedAllocation, Strategy
from .told_scores import ToldScores


@dataclass
class SearchOutcome:
    """What was found.

    Attributes:
        best: The candidate.
        scores: `best` and `uniform` on the search data, `holdout_best` and `holdout_uniform` on held-out ones.
        history: One entry a round of the strategy.
    """

    best: Candidate
    scores: dict[str, WindowScores]
    history: list[dict[str, Any]]

    @property
    def means(self) -> dict[str, float]:
        """Mean of the scores over all scored positions, by name."""
        return {name: scores.mean for name, scores in self.scores.items()}


def find_allocation(
    sparse_model: SparseModel,
    order: PruningOrder,
    space: AllocationSpace,
    config: EvoESAPConfig,
    search: list[Batch],
    holdout: list[Batch],
    told: ToldScores | None = None,
) -> SearchOutcome:
    """Search `space` on the `search` batches, then compare with the uniform allocation on the `holdout` ones.

    Args:
        sparse_model: The unpruned model: the teacher, and under a virtual slice every candidate.
        order: Which experts of a layer go first.
        space: The allowed allocations.
        config: Strategy, fitness, sizes and seed; an allocation that it gives is scored only.
        search: Batches on which candidates are scored; may be empty where the allocation is given.
        holdout: Batches that the search never sees; may be empty.
        told: Keeps the scores, and brings those of a killed run.
    """
    strategy = make_strategy(order, space, config)
    if not search:
        return SearchOutcome(strategy.best, {}, [])
    told = told or ToldScores()
    scorer = CandidateScorer(sparse_model, search, config, told.batch_size)
    run_search(strategy, scorer, told)
    # Only one teacher is kept in memory.
    scorer.forget()
    scores = {"best": told[strategy.best], "uniform": told[strategy.uniform]}
    if holdout:
        scorer = CandidateScorer(sparse_model, holdout, config, scorer.batch_size)
        scores |= compare_with_uniform(scorer, strategy.best, strategy.uniform, config)
    return SearchOutcome(strategy.best, scores, strategy.history)


def make_strategy(order: PruningOrder, space: AllocationSpace, config: EvoESAPConfig) -> Strategy:
    """The strategy that a configuration names, or that of an allocation which it gives.

    Args:
        order: Which experts of a layer go first.
        space: The allowed allocations.
        config: The configuration.
    """
    fixed = fixed_allocation(config, space)
    if fixed is not None:
        return FixedAllocation(space, order, config, fixed)
    return STRATEGIES[str(config.allocation)](space, order, config)
