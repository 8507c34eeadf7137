# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The law that the criterion `esap` is what the model really loses without each expert, over every architecture."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.calibration.criterion_names import MEASURED_CRITERIA
from optimum_evoesap.calibration.left_out import experts_left_out
from optimum_evoesap.calibration.measured import Measurement
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.fitness.scorer import FitnessScorer
from tests.laws.helpers import WITHOUT_NEXT_TOKEN
from tests.model_matrix import MODEL_TYPES, make_model, random_tokens, sparse_model_of


@pytest.mark.parametrize("model_type", [name for name in MODEL_TYPES if name not in WITHOUT_NEXT_TOKEN])
def test_each_expert_is_worth_what_is_lost_without_it(model_type):
    sparse_model = sparse_model_of(make_model(model_type))
    tokens = random_tokens(2, 12)
    batches = [{"input_ids": tokens, "labels": tokens}]
    statistics = observe_experts(sparse_model, batches, progress=False)
    measure = MEASURED_CRITERIA["esap"]
    found = dict(measure(Measurement(sparse_model, batches, statistics, progress=False), sparse_model.indices))
    last = sparse_model.layers[-1]
    alone = dict(measure(Measurement(sparse_model, batches, statistics, progress=False), [last.index]))
    assert torch.equal(alone[last.index], found[last.index]), "a layer must not depend on the others"

    whole = FitnessScorer(sparse_model.model, batches)
    for layer in sparse_model.layers:
        left_out = experts_left_out(layer, statistics.layers[layer.index])
        expected = torch.zeros(layer.num_experts, dtype=torch.float64)
        for expert, gone in enumerate(left_out):
            assert expert in gone and len(gone) == layer.num_groups
            kept = {layer.index: [each for each in range(layer.num_experts) if each not in gone]}
            expected[expert] = 1.0 - whole.score(lambda kept=kept: sparse_model.sliced(kept)).mean
        assert torch.equal(found[layer.index], expected)
    assert any(scores.max() > 1e-3 for scores in found.values()), "some expert must matter"
