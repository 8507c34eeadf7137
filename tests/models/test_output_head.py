# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The output head of a model: its scale, its soft cap, and padding of the vocabulary."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.output_head import find_output_head
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.fitness.helpers import batches_of, slow_esap
from tests.model_matrix import make_model, random_kept, random_tokens


def test_output_head_finds_a_scale_and_a_soft_cap():
    model = make_model("olmoe")
    inputs = {"input_ids": random_tokens(1, 8)}
    assert find_output_head(model, inputs).soft_cap is None
    plain = model.forward

    def changed(change):
        def forward(*args, **kwargs):
            outputs = plain(*args, **kwargs)
            outputs.logits = change(outputs.logits)
            return outputs

        return forward

    model.config.final_logit_softcapping = 30.0
    model.forward = changed(lambda logits: 30 * torch.tanh(logits / 30))
    assert find_output_head(model, inputs).soft_cap == 30.0
    model.config.logits_scaling = 8.0
    model.forward = changed(lambda logits: logits / 8)
    assert find_output_head(model, inputs).logit_scale == pytest.approx(1 / 8)
    model.forward = changed(lambda logits: logits**2)
    with pytest.raises(ValueError, match="not known"):
        find_output_head(model, inputs)


def test_padding_of_the_vocabulary_is_no_token():
    """Some models cut off what their output layer has for rows of padding; nothing of it may be scored."""
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    padded = torch.nn.Linear(model.lm_head.in_features, 104).to(model.device)
    with torch.no_grad():
        padded.weight[:96] = model.lm_head.weight
    plain, model.lm_head = model.forward, padded

    def forward(*args, **kwargs):
        outputs = plain(*args, **kwargs)
        outputs.logits = outputs.logits[..., :96]
        return outputs

    model.forward = forward
    tokens = random_tokens(2, 16)
    scorer = FitnessScorer(model, batches_of(tokens))
    with torch.no_grad():
        teacher = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
        with VirtualSlice(layers, random_kept(layers, 3)):
            student = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
            assert scorer.score().mean == pytest.approx(slow_esap(teacher, student), abs=1e-5)
