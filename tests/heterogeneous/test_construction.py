# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The step that builds models whose layers have different expert counts."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.adapters import find_moe_layers
from tests.heterogeneous.helpers import logits
from tests.model_matrix import make_config, make_model


def test_a_failed_construction_leaves_no_trace(pruned_olmoe, monkeypatch, tmp_path):
    from transformers.models.olmoe import modeling_olmoe

    config = AutoConfig.from_pretrained(pruned_olmoe["folder"])
    with monkeypatch.context() as broken:
        broken.setattr(modeling_olmoe.OlmoeRotaryEmbedding, "__init__", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            AutoModelForCausalLM.from_config(config)
    assert "allow_global" not in config.to_json_string()
    config.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(config)
    assert [layer.num_experts for layer in find_moe_layers(model)] == [len(k) for k in pruned_olmoe["kept"].values()]
    with pytest.raises(AmbiguousGlobalPerLayerAttributeError):
        _ = config.num_experts  # as transformers has it, once no model is under construction


def test_one_config_builds_models_in_several_threads(pruned_olmoe):
    from concurrent.futures import ThreadPoolExecutor

    config = AutoConfig.from_pretrained(pruned_olmoe["folder"])
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: AutoModelForCausalLM.from_config(config), range(8)))
    expected = [len(kept) for kept in pruned_olmoe["kept"].values()]
    assert all([layer.mlp.gate.num_experts for layer in model.model.layers] == expected for model in models)


def test_a_layer_that_does_not_take_its_config_is_noticed(pruned_olmoe, monkeypatch):
    from transformers.models.olmoe import modeling_olmoe

    for each in (modeling_olmoe.OlmoeDecoderLayer, modeling_olmoe.OlmoeAttention):
        unwrapped = each.__init__.__wrapped__
        # Its parameters do not tell that one of them is the index of a layer.
        monkeypatch.setattr(each, "__init__", lambda *parts, own=unwrapped, **named: own(*parts, **named))
    with pytest.raises(RuntimeError, match="did not take its own config"):
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(pruned_olmoe["folder"]))


def test_a_pruned_model_compiles_in_one_graph(pruned_olmoe):
    model = AutoModelForCausalLM.from_pretrained(pruned_olmoe["folder"], experts_implementation="batched_mm")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(logits(compiled), logits(model))


def test_a_count_under_an_alias_is_taken(pruned_olmoe):
    """Another transformers release may have written the count under the name that is an alias in this one."""
    config = make_config("olmoe")
    config.per_layer_config = {0: {"num_local_experts": 3}, 2: {"num_local_experts": 5}}
    model = AutoModelForCausalLM.from_config(config)
    assert [layer.num_experts for layer in find_moe_layers(model)] == [3, 8, 5]


def test_models_without_expert_overrides_are_untouched_by_the_import():
    model = make_model("olmoe")
    assert all(layer.blocks[0].experts[0].config is model.config for layer in find_moe_layers(model))
