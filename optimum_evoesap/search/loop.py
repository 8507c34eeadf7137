# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The search of a run: evolution of the allocation, scored on the model itself, with a held-out comparison."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from ..adapters import MoELayer
from ..calibration.criteria import PruningOrder
from ..configuration import EvoESAPConfig
from ..fitness.scorer import FitnessScorer
from ..models.virtual_slice import VirtualSlice
from ..run.state import RunState
from .allocation import Allocation, AllocationSpace
from .candidate import kept_experts
from .strategies.evolution import evolve


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
    state: RunState | None = None,
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
    score = partial(_score, layers, order)
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
    scorer.forget()
    if holdout:
        scores |= _holdout_scores(model, score, config, found.best, found.uniform, holdout)
    return SearchOutcome(list(found.best), scores, found.history)


def score_allocation(
    model: PreTrainedModel,
    layers: Sequence[MoELayer],
    order: PruningOrder,
    space: AllocationSpace,
    config: EvoESAPConfig,
    allocation: Allocation,
    search: Batches,
    holdout: Batches,
) -> SearchOutcome:
    """The scores of an allocation that is not searched and of the uniform one; the arguments are as for the search.

    Args:
        model: The unpruned model.
        layers: Its sparse layers.
        order: Which experts of a layer go first.
        space: The allowed allocations.
        config: Fitness and seed.
        allocation: The allocation to score.
        search: Batches of search data.
        holdout: Batches of held-out data; may be empty.
    """
    score, uniform = partial(_score, layers, order), space.uniform()
    scorer = FitnessScorer(model, search, config.fitness, config.seed)
    scores = {"best": score(scorer, allocation)}
    scores["uniform"] = scores["best"] if allocation == uniform else score(scorer, uniform)
    scorer.forget()
    if holdout:
        scores |= _holdout_scores(model, score, config, allocation, uniform, holdout)
    return SearchOutcome(list(allocation), scores, [])


def _holdout_scores(
    model: PreTrainedModel,
    score: Callable[[FitnessScorer, Allocation], float],
    config: EvoESAPConfig,
    allocation: Allocation,
    uniform: Allocation,
    holdout: Batches,
) -> dict[str, float]:
    scorer = FitnessScorer(model, holdout, config.fitness, config.seed)
    scores = {"holdout_best": score(scorer, allocation), "holdout_uniform": score(scorer, uniform)}
    if scores["holdout_best"] <= scores["holdout_uniform"] and config.allocation != "uniform":
        logger.warning(
            "The allocation %s does not beat the uniform one on held-out windows (%s %.4f against %.4f).",
            "given" if config.is_explicit else "found",
            config.fitness,
            scores["holdout_best"],
            scores["holdout_uniform"],
        )
    return scores


def _score(layers: Sequence[MoELayer], order: PruningOrder, scorer: FitnessScorer, allocation: Allocation) -> float:
    kept = kept_experts(order, dict(zip((layer.index for layer in layers), allocation)))
    while True:
        try:
            with VirtualSlice(layers, kept):
                return scorer.score()
        except torch.OutOfMemoryError as error:
            # Its traceback would keep what the candidate held in memory.
            failure = error.with_traceback(None)
        # Out of the slice the model is the teacher again, which is asked anew on the smaller batches.
        scorer.use_smaller_batches(failure)
