# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The data that a search works on, and the scores on them that an earlier run has left."""

from __future__ import annotations

import math

from ..calibration.criteria import PruningOrder
from ..configuration import EvoESAPConfig
from ..data import TokenizedData
from ..models.batching import in_batches_of
from ..models.sparse_model import SparseModel
from ..run.code_digest import fitness_digests
from ..run.inputs import ModelInputs
from ..run.state import RunState
from .find import SearchData
from .rounds import CALIBRATION, HELD_OUT, SEARCH
from .told_logits import ToldLogits
from .told_scores import ToldScores
from .trainer import TrainingData, trains


# Windows on which a strategy may measure experts again, as a multiple of those of the criterion.
TIMES_AGAIN = 4
# Tokens of calibration data on which keep logits are trained, again and again; as many as RCO takes.
_TRAINING_TOKENS = 131_072
# What the score of a candidate depends on, beside model, order and data. The sizes of the search are not among them:
# a run with more generations goes on from the scores of one with fewer.
_SCORE_OPTIONS = ("fitness", "holdout_fraction", "batch_size", "seed")


def search_inputs(
    inputs: ModelInputs, state: RunState, sparse_model: SparseModel, order: PruningOrder, config: EvoESAPConfig
) -> tuple[SearchData, dict[str, ToldScores]]:
    """Batch search, held-out and calibration data, and bring the scores that are known on them.

    Args:
        inputs: The prepared data, those of the search among them.
        state: Of the run.
        sparse_model: The unpruned model.
        order: Which experts of a layer go first.
        config: Says what a score depends on.
    """

    def told(kind: str, scored: TokenizedData) -> ToldScores:
        choices = [getattr(config, name) for name in _SCORE_OPTIONS]
        parts = (scored.fingerprint, order, choices, fitness_digests(config.fitness))
        return ToldScores(state, state.key(sparse_model.model, *parts), kind)

    data = inputs.get("search")
    parts = inputs.holdout_split(data)
    search, holdout = (list(inputs.batches(part)) for part in parts)
    domains = (parts[0].mixture, parts[1].mixture)
    known = {SEARCH: told(SEARCH, data), HELD_OUT: told(HELD_OUT, data)}
    if "calibration" not in inputs.prepared:  # the statistics came from elsewhere
        training = _training(parts[0], inputs, state, sparse_model, config)
        return SearchData(search, holdout, (), *domains, training), known
    broad = inputs.criterion_data(TIMES_AGAIN)
    known[CALIBRATION] = told(CALIBRATION, broad)
    # So that a strategy can take a first look at as few windows as the criterion was measured on.
    calibration = in_batches_of(list(inputs.batches(broad)), config.criterion_windows)
    times = math.ceil(_TRAINING_TOKENS / (config.criterion_windows * config.sequence_length))
    training = _training(inputs.criterion_data(times), inputs, state, sparse_model, config)
    return SearchData(search, holdout, calibration, *domains, training), known


def _training(
    data: TokenizedData, inputs: ModelInputs, state: RunState, sparse_model: SparseModel, config: EvoESAPConfig
) -> TrainingData | None:
    if not trains(config):
        return None
    key = state.key(sparse_model.model, data.fingerprint, config.batch_size, config.seed)
    return TrainingData(list(inputs.batches(data)), ToldLogits(state, key))
