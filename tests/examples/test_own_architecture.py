# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The adapter that the documentation shows, for a model whose experts are called in a way of its own."""

from __future__ import annotations

import torch

from optimum_evoesap.adapters import find_moe_layers, model_structure
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from optimum_evoesap.search.keep_logits.gradient_check import check_gradients
from tests.model_matrix import sparse_model_of


def test_an_adapter_of_ones_own_gives_the_same_logits_virtually_and_really():
    """The model of the documentation, whose experts are called in a way that the package does not know."""
    from examples.own_architecture import GatedConfig, GatedForCausalLM, GateMatrixExperts

    torch.manual_seed(0)
    model = GatedForCausalLM(GatedConfig()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    tokens = torch.randint(0, 64, (2, 12))
    layers, structure = find_moe_layers(model), model_structure(model)
    assert all(isinstance(layer.blocks[0], GateMatrixExperts) and layer.top_k == 2 for layer in layers)
    check_gradients(sparse_model_of(model), tokens)
    kept = {0: [1, 4, 6], 1: [0, 7], 2: [0, 1, 2, 3, 5]}
    with torch.no_grad():
        with VirtualSlice(layers, kept):
            virtual = model(tokens).logits
        statistics = observe_experts(sparse_model_of(model), [{"input_ids": tokens}], progress=False)
        assert int(statistics.layers[1].routed_tokens.sum()) == 2 * tokens.numel()
        assert not torch.equal(model(tokens).logits, virtual)
        assert torch.equal(remove_experts(model, layers, structure, kept)(tokens).logits, virtual)
