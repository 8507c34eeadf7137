# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`CandidateScorer`]: what candidates score on some data."""

from __future__ import annotations

from functools import partial

from ..configuration import EvoESAPConfig
from ..fitness.scorer import FitnessScorer
from ..fitness.window_scores import WindowScores
from ..models.batching import Batch
from ..models.sparse_model import SparseModel
from .candidate import Candidate


class CandidateScorer:
    """Scores candidates as virtual slices of the model, against the model itself.

    Args:
        sparse_model: The unpruned model.
        batches: The data, with labels.
        config: Fitness and seed.
        batch_size: Windows at once to begin with, where it is known that there is no memory for more.
    """

    def __init__(
        self, sparse_model: SparseModel, batches: list[Batch], config: EvoESAPConfig, batch_size: int | None = None
    ):
        self._sparse_model = sparse_model
        self._scorer = FitnessScorer(sparse_model.model, batches, config.fitness, config.seed, batch_size)

    def score(self, candidate: Candidate) -> WindowScores:
        """What a candidate scores on each window."""
        return self._scorer.score(partial(self._sparse_model.sliced, candidate))

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""
        return self._scorer.batch_size

    def forget(self) -> None:
        """Let go of the teacher, so that only one is in memory; nothing can be scored any more."""
        self._scorer.forget()
