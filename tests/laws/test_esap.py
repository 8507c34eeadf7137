# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The law that ESAP is exact and 1 for the unpruned model, over every architecture."""

from __future__ import annotations

import pytest
import torch

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.output_head import find_output_head
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.laws.helpers import TOKENS, WITHOUT_NEXT_TOKEN, logits
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_kept


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_esap_of_the_unpruned_model_is_one(model_type):
    model = make_model(model_type)
    batches = [{"input_ids": TOKENS, "labels": TOKENS}]
    if model_type in WITHOUT_NEXT_TOKEN:
        with pytest.raises(ValueError, match="does not predict the next token"):
            FitnessScorer(model, batches)
        return
    scorer = FitnessScorer(model, batches)
    assert scorer.score().mean == pytest.approx(1.0, abs=1e-6)
    layers = layers_of(model)
    with VirtualSlice(layers, random_kept(layers, 6)):
        pruned = logits(model)
        score = scorer.score().mean
    whole = logits(model)
    by_hand = torch.minimum(whole.softmax(-1), pruned.softmax(-1)).sum(-1)[:, :-1].mean()
    assert score == pytest.approx(by_hand.item(), abs=1e-5) and score < 0.99
    assert find_output_head(model, batches[0]).vocabulary == whole.shape[-1]
