# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The config-wide expert count, which only models that are alive may read."""

from __future__ import annotations

import copy
import gc
import pickle

import pytest
import torch
from transformers import AutoConfig
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.adapters import find_moe_layers, model_structure
from optimum_evoesap.models.surgery import remove_experts
from tests.heterogeneous.helpers import TOKENS
from tests.model_matrix import make_model, random_kept


def test_only_configs_of_living_models_are_read_in_silence(tmp_path):
    """A model with a text model inside reads the config-wide count for its auxiliary loss when it runs."""
    model = make_model("qwen3_vl_moe")
    layers = find_moe_layers(model)
    remove_experts(model, layers, model_structure(model), random_kept(layers, 1))
    model.save_pretrained(tmp_path)
    reloaded = type(model).from_pretrained(tmp_path)
    other = AutoConfig.from_pretrained(tmp_path).text_config

    def aux_loss(of) -> torch.Tensor:
        return of(input_ids=TOKENS, output_router_logits=True).aux_loss

    unpickled = pickle.loads(pickle.dumps(reloaded))  # after the first run transformers' own hooks are in the way
    expected = aux_loss(reloaded)
    for twin in (copy.deepcopy(reloaded), copy.copy(reloaded), unpickled, model):
        torch.testing.assert_close(aux_loss(twin), expected)
    with pytest.raises(AmbiguousGlobalPerLayerAttributeError):
        _ = other.num_experts
    # Alone, without the model that it was copied from; with a config that came later.
    twin = copy.deepcopy(reloaded)
    del model, reloaded, layers, unpickled
    gc.collect()
    twin.config = copy.deepcopy(twin.config)
    torch.testing.assert_close(aux_loss(twin), expected)
    left = twin.config.text_config
    assert left.num_experts == 8
    del twin
    gc.collect()
    for config in (left, other):
        with pytest.raises(AmbiguousGlobalPerLayerAttributeError):
            _ = config.num_experts
