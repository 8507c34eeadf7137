# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What inspection counts and foresees, over every architecture."""

from __future__ import annotations

import pytest

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.reports.inspection import inspect_model
from tests.model_matrix import MODEL_TYPES, ROWS, make_config, structure_of, uniformly_kept


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_inspect(model_type):
    model = ROWS[model_type].load_class()(make_config(model_type))
    found = inspect_model(model)
    layers = find_moe_layers(model)
    assert [layer.num_experts for layer in found.layers] == [layer.num_experts for layer in layers]
    total = sum(parameter.numel() for parameter in model.parameters())
    assert found.parameters == total and 0 < found.expert_parameters < total
    most = found.outlooks[-1]
    least = {layer.index: uniformly_kept(layer, layer.min_kept // len(layer.blocks)) for layer in layers}
    remove_experts(model, layers, structure_of(model), least)
    assert most.parameters == sum(parameter.numel() for parameter in model.parameters())
