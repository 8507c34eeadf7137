# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which experts of each layer go first: by one criterion, or by the one whose order scores best at the budget."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch

from ..calibration.criteria import PruningOrder, order_experts
from ..calibration.criterion_names import AUTO, AUTO_CRITERIA
from ..calibration.protection import protected_last
from ..calibration.statistics import ExpertStatistics
from ..configuration import EvoESAPConfig
from ..fitness.slices import SliceScorer
from ..kernels.forward.fused_forward import fused_forward
from ..models.progress_bar import ProgressBar
from ..models.sparse_model import SparseModel
from ..run.code_digest import fitness_digests
from ..run.expert_scores import expert_scores
from ..run.inputs import ModelInputs
from ..run.state import RunState
from .allocation import Allocation, AllocationSpace
from .board import ScoreBoard
from .candidate import Candidate
from .knapsack import cheapest
from .planning import fixed_allocation
from .told_scores import ToldScores


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankedExperts:
    """The experts of each layer in order.

    Attributes:
        criterion: Name of the criterion that orders them.
        scores: What it gave, by decoder layer, shape (experts,).
        order: Experts of each layer from the first to go to the last.
        compared: Where a criterion was to be chosen: the fitness that the order of each reaches at the budget.
    """

    criterion: str
    scores: dict[int, torch.Tensor]
    order: PruningOrder
    compared: dict[str, float] = field(default_factory=dict)


@dataclass
class Ranker:
    """Makes the order of a run.

    Attributes:
        config: The choices.
        sparse_model: The unpruned model.
        space: The allowed allocations.
        keep: Experts that stay in any case, by decoder layer.
        statistics: What the experts did on the calibration data.
        inputs: The calibration data.
        state: Keeps what is measured, and brings what a killed run has left.
        known: Scores of experts that were measured elsewhere, by the name of the criterion.
    """

    config: EvoESAPConfig
    sparse_model: SparseModel
    space: AllocationSpace
    keep: Mapping[int, Collection[int]]
    statistics: ExpertStatistics
    inputs: ModelInputs
    state: RunState
    known: Mapping[str, dict[int, torch.Tensor]] = field(default_factory=dict)

    def rank(self) -> RankedExperts:
        """Order the experts by the criterion of the configuration, or by the best one where that is `auto`.

        Raises:
            ValueError: A criterion gives something else than one finite score an expert.
        """
        if self.config.criterion != AUTO:
            return self._ranked_by(self.config.criterion)
        ranked = {name: self._ranked_by(name) for name in AUTO_CRITERIA}
        compared = self._fitness_of(ranked)
        # Of equal ones the first.
        best = max(compared, key=compared.__getitem__)
        shown = ", ".join(f"{name} {compared[name]:.4f}" for name in sorted(compared, key=lambda one: -compared[one]))
        logger.info("criterion='auto' takes %s; %s by criterion: %s.", best, self.config.fitness, shown)
        return RankedExperts(best, ranked[best].scores, ranked[best].order, compared)

    def _ranked_by(self, criterion: str) -> RankedExperts:
        scores = self.known.get(criterion)
        if scores is None:
            config = self.config.replace(criterion=criterion)
            scores = expert_scores(config, self.sparse_model, self.statistics, self.inputs, self.state)
        groups = {layer.index: layer.num_groups for layer in self.sparse_model.layers}
        return RankedExperts(criterion, scores, protected_last(order_experts(scores, groups), self.keep, groups))

    def _fitness_of(self, ranked: Mapping[str, RankedExperts]) -> dict[str, float]:
        """What the best allocation by each order scores on the windows that criteria are measured on."""
        data = self.inputs.criterion_data()
        choices = (self.config.fitness, self.config.batch_size, self.config.seed)
        parts = ("choice", data.fingerprint, choices, fitness_digests(self.config.fitness))
        told = ToldScores(self.state, self.state.key(self.sparse_model.model, *parts), "choice")
        candidates = {name: self._candidates(each) for name, each in ranked.items()}
        tried = list(dict.fromkeys(one for each in candidates.values() for one in each))
        batches, rows = list(self.inputs.batches(data)), self.inputs.rows_at_once
        total = len(tried) * len(data)
        with fused_forward(self.sparse_model.model), ProgressBar("choose a criterion", total, "window") as bar:
            scorer = SliceScorer(
                self.sparse_model, batches, self.config.fitness, self.config.seed, told.batch_size, rows
            )
            board = ScoreBoard(scorer, told)
            scores = dict(zip(tried, board.score(tried, after=bar.advance)))
            board.save()
            scorer.forget()
        return {name: max(scores[one].mean for one in each) for name, each in candidates.items()}

    def _candidates(self, ranked: RankedExperts) -> list[Candidate]:
        """An order at the budget: uniform, and as the criterion itself would share the budget out over the layers.

        A criterion whose scores are comparable over layers is a better start of a search than the uniform allocation
        of its order tells; of one whose scores are not, the uniform one is the fairer picture.
        """
        fixed = fixed_allocation(self.config, self.space)
        counts = [fixed] if fixed is not None else [self.space.uniform(), least_loss(ranked, self.space)]
        return [Candidate.from_order(ranked.order, dict(zip(self.space.layers, each))) for each in counts]


def least_loss(ranked: RankedExperts, space: AllocationSpace) -> Allocation:
    """The allocation that removes experts of the lowest scores in all, in their order.

    Args:
        ranked: Scores and order.
        space: The allowed allocations.
    """
    tables = []
    for layer, limit in zip(space.layers, space.max_removed):
        losses = ranked.scores[layer][ranked.order[layer]].cumsum(0).tolist()
        tables.append({0: 0.0} | {count: losses[count - 1] for count in range(space.unit, limit + 1, space.unit)})
    return cheapest(tables, space.budget, space.unit)
