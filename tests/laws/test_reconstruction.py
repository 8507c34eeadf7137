# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The law that `reconstruction` is what a slow recomputation gives, over every architecture."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.calibration.criteria import order_experts
from optimum_evoesap.calibration.measured import MEASURED_CRITERIA, Measurement
from optimum_evoesap.calibration.module_calls import smallest_modules
from optimum_evoesap.calibration.observer import observe_experts
from tests.calibration.slow_statistics import MASK, TOKENS
from tests.laws.slow_reconstruction import recompute
from tests.model_matrix import MODEL_TYPES, make_model, sparse_model_of


SEED = 3


def batches_of(model_type):
    """Two batches with padding; without, where padding cannot be told from tokens."""
    if model_type == "diffusion_gemma":
        return [{"input_ids": TOKENS}]
    parts = (slice(0, 2), slice(2, 3))
    return [{"input_ids": TOKENS[part], "attention_mask": MASK[part]} for part in parts]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_reconstruction_is_that_of_a_slow_recomputation(model_type):
    model = make_model(model_type)
    sparse_model = sparse_model_of(model)
    batches = batches_of(model_type)
    statistics = observe_experts(sparse_model, batches, progress=False)
    with_labels = [batch | {"labels": batch["input_ids"]} for batch in batches]
    measurement = Measurement(sparse_model, with_labels, statistics, seed=SEED, progress=False)
    found = dict(MEASURED_CRITERIA["reconstruction"](measurement, sparse_model.indices))

    names = {id(module): name for name, module in model.named_modules()}
    prunable = [layer for layer in sparse_model.layers if not layer.unprunable_reason]
    paths = {layer.index: [names[id(module)] for module in smallest_modules(layer)] for layer in prunable}
    routed = {index: sums.routed_tokens for index, sums in statistics.layers.items()}
    slow = recompute(model, paths, batches, routed, SEED)
    for layer in sparse_model.layers:
        scores = found[layer.index]
        assert scores.shape == (layer.num_experts,) and scores.dtype == torch.float64
        if layer.unprunable_reason:
            assert not scores.any(), "a layer that cannot lose an expert has no order"
            continue
        assert len(scores.unique()) > 2, "experts must be told apart"
        tolerance = 1e-3 * float(scores.max())
        torch.testing.assert_close(scores, slow[layer.index], rtol=1e-3, atol=tolerance)
        order = order_experts(found, {layer.index: layer.num_groups})[layer.index]
        in_order = slow[layer.index][order].view(-1, layer.num_groups)
        assert (in_order.diff(dim=0) >= -tolerance).all(), "within each group the least change goes first"
