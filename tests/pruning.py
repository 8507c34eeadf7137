# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A small model and data for it, ready to prune."""

from __future__ import annotations

import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import make_model, random_tokens


SMALL = {
    "sparsity": 0.5,
    "criterion": "reap",
    "allocation": "evolution",
    "generations": 3,
    "population_size": 6,
    "num_elites": 2,
    "sequence_length": 16,
    "calibration_samples": 6,
    "search_samples": 4,
    "batch_size": 2,
}
TOKENS = random_tokens(2, 16, seed=9)


def rows(count=12, seed=0):
    return [{"input_ids": tokens} for tokens in random_tokens(count, 16, seed)]


def is_better(result):
    """Whether what was found beats the uniform allocation, by the interval or, where there is none, by the score."""
    scores = result.scores
    found = scores.get("holdout_found", scores["holdout_best"])
    return found > scores["holdout_uniform"] if result.interval is None else result.interval[0] > 0


def logits(model):
    with torch.no_grad():
        torch.manual_seed(0)  # for DiffusionGemma, which starts from random tokens
        return model(input_ids=TOKENS.to(model.device)).logits


def make_pruner(model_type="olmoe", base=None, **options):
    options = SMALL | options
    if not isinstance(options.get("allocation", ""), str):
        del options["sparsity"]  # it follows from the counts
    model = make_model(model_type)
    if base is not None:
        model.config.name_or_path = base
    return MoEPruner(model, EvoESAPConfig(**options))
