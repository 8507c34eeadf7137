# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The search of a run: evolution of the allocation, scored on the model itself, with a held-out comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import PreTrainedModel

from .adapters import MoELayer
from .allocation import Allocation, AllocationSpace
from .configuration import EvoESAPConfig
from .criteria import PruningOrder
from .evolution import EvolutionOptions, evolve
from .fitness.scorer import FitnessScorer
from .search_state import SearchState
from .virtual_slice import VirtualSlice


Batches = list[dict[str, torch.Tensor]]


@dataclass
class SearchOutcome:
    """The allocation found, how it and the uniform one score on search and held-out data, and the history."""

    allocation: list[int]
    scores: dict[str, float]
    history: list[dict[str, Any]]


class AllocationSearch:
    """Scores allocations of one model under one pruning order.

    Args:
        model: The unpruned model: the teacher, and under a virtual slice every candidate.
        layers: Its sparse layers.
        order: Which experts of a layer go first.
        config: Fitness, sizes and seed of the search.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[MoELayer], order: PruningOrder, config: EvoESAPConfig):
        self._model = model
        self._layers = layers
        self._order = order
        self._config = config

    def run(
        self, space: AllocationSpace, search: Batches, holdout: Batches, state: SearchState | None, key: str
    ) -> SearchOutcome:
        """Search `space` on the `search` batches, then compare with the uniform allocation on the `holdout` ones.

        Args:
            space: The allowed allocations.
            search: Batches on which candidates are scored.
            holdout: Batches that the search never sees; may be empty.
            state: Keeps the scores of each generation, and brings those of a killed run.
            key: Fingerprint of everything the scores depend on.
        """
        scorer = self._scorer(search)
        found = evolve(
            lambda allocation: self._score(scorer, allocation),
            space,
            EvolutionOptions(**{item.name: getattr(self._config, item.name) for item in fields(EvolutionOptions)}),
            known_scores=state.load_scores(key) if state else None,
            on_generation=(lambda so_far: state.save_scores(key, so_far.scores)) if state else None,
        )
        scores = {"best": found.scores[found.best], "uniform": found.scores[found.uniform]}
        if holdout:
            scorer = self._scorer(holdout)
            scores["holdout_best"] = self._score(scorer, found.best)
            scores["holdout_uniform"] = self._score(scorer, found.uniform)
        return SearchOutcome(list(found.best), scores, found.history)

    def _scorer(self, batches: Batches) -> FitnessScorer:
        return FitnessScorer(self._model, batches, self._config.fitness, self._config.seed)

    def _score(self, scorer: FitnessScorer, allocation: Allocation) -> float:
        kept = kept_experts(self._order, dict(zip((layer.index for layer in self._layers), allocation)))
        with VirtualSlice(self._layers, kept):
            return scorer.score()


def kept_experts(order: PruningOrder, removed: dict[int, int]) -> dict[int, list[int]]:
    """The experts that stay in each decoder layer, ascending, when `removed` of them go in pruning order."""
    return {layer: sorted(order[layer][count:]) for layer, count in removed.items()}
