# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The search of a run: evolution of the allocation, scored on the model itself, with a held-out comparison."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from .adapters import MoELayer
from .allocation import Allocation, AllocationSpace
from .configuration import EvoESAPConfig
from .criteria import PruningOrder
from .evolution import evolve
from .fitness.scorer import FitnessScorer
from .search_state import SearchState
from .virtual_slice import VirtualSlice


logger = logging.getLogger(__name__)

Batches = list[dict[str, torch.Tensor]]


@dataclass
class SearchOutcome:
    """The allocation found, how it and the uniform one score on search and held-out data, and the history."""

    allocation: list[int]
    scores: dict[str, float]
    history: list[dict[str, Any]]


def search_allocation(
    model: PreTrainedModel,
    layers: Sequence[MoELayer],
    order: PruningOrder,
    space: AllocationSpace,
    config: EvoESAPConfig,
    search: Batches,
    holdout: Batches,
    state: SearchState | None = None,
    key: str = "",
) -> SearchOutcome:
    """Search `space` on the `search` batches, then compare with the uniform allocation on the `holdout` ones.

    Args:
        model: The unpruned model: the teacher, and under a virtual slice every candidate.
        layers: Its sparse layers.
        order: Which experts of a layer go first.
        space: The allowed allocations.
        config: Fitness, sizes and seed of the search.
        search: Batches on which candidates are scored.
        holdout: Batches that the search never sees; may be empty.
        state: Keeps the scores of each generation, and brings those of a killed run.
        key: Fingerprint of everything the scores depend on.
    """

    def score(scorer: FitnessScorer, allocation: Allocation) -> float:
        kept = kept_experts(order, dict(zip((layer.index for layer in layers), allocation)))
        while True:
            try:
                with VirtualSlice(layers, kept):
                    return scorer.score()
            except torch.OutOfMemoryError as error:
                # Its traceback would keep what the candidate held in memory.
                failure = error.with_traceback(None)
            # Out of the slice the model is the teacher again, who has to speak on the new batches.
            scorer.use_smaller_batches(failure)

    saved = state.load_scores(key) if state else None
    batch_size = saved.batch_size if saved else None
    scorer = FitnessScorer(model, search, config.fitness, config.seed, batch_size)
    found = evolve(
        partial(score, scorer),
        space,
        config,
        known_scores=saved.scores if saved else None,
        on_generation=(lambda so_far: state.save_scores(key, so_far.scores, scorer.batch_size)) if state else None,
    )
    scores = {"best": found.scores[found.best], "uniform": found.scores[found.uniform]}
    if holdout:
        # Only one teacher is kept in memory.
        del scorer
        scorer = FitnessScorer(model, holdout, config.fitness, config.seed)
        scores["holdout_best"] = score(scorer, found.best)
        scores["holdout_uniform"] = score(scorer, found.uniform)
        if scores["holdout_best"] <= scores["holdout_uniform"]:
            logger.warning(
                "The allocation found does not beat the uniform one on held-out windows (%s %.4f against %.4f).",
                config.fitness,
                scores["holdout_best"],
                scores["holdout_uniform"],
            )
    return SearchOutcome(list(found.best), scores, found.history)


def kept_experts(order: PruningOrder, removed: dict[int, int]) -> dict[int, list[int]]:
    """The experts that stay in each decoder layer, ascending, when `removed` of them go in pruning order."""
    return {layer: sorted(order[layer][count:]) for layer, count in removed.items()}
