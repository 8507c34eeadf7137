# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What discovery says of a model, against what is known of it."""

from __future__ import annotations

import json
import logging
import pickle

import pytest
import torch
from transformers import AutoConfig, BitsAndBytesConfig

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.adapters import Routes, discover_structure, find_moe_layers
from optimum_evoesap.adapters.growth import affine
from optimum_evoesap.adapters.top_k import group_limits
from optimum_evoesap.calibration.observer import ExpertObserver, observe_experts
from optimum_evoesap.heterogeneous.attributes import per_layer_overrides
from optimum_evoesap.heterogeneous.layer_config import layer_config
from optimum_evoesap.models.output_head import final_hidden_states, output_layer
from optimum_evoesap.models.surgery import remove_experts, write_expert_counts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from optimum_evoesap.reports.inspection import inspect_model
from optimum_evoesap.search.planning import allocation_space
from tests.model_matrix import (
    MODEL_TYPES,
    ROWS,
    layers_of,
    make_config,
    make_model,
    random_tokens,
    sparse_model_of,
    structure_of,
)
from tests.remote_code import modeling_listed_moe
from tests.remote_code.configuration_listed_moe import ListedMoeConfig


TOKENS = random_tokens(2, 24)


@pytest.mark.parametrize(
    ("model_type", "attribute", "num_experts", "top_k", "num_groups", "min_kept"),
    [
        ("olmoe", "num_experts", 8, 2, 1, 2),
        ("qwen3_moe", "num_local_experts", 8, 2, 1, 2),
        ("deepseek_v3", "n_routed_experts", 12, 3, 3, 6),
        ("dbrx", "moe_num_experts", 8, 2, 1, 2),
        # Not the counts of shared or zero experts, which move rows of the router as well.
        ("inkling_text", "n_routed_experts", 8, 2, 1, 2),
        ("longcat_flash", "n_routed_experts", 8, 2, 1, 2),
        # One expert alone would not be routed.
        ("zaya", "num_experts", 8, 1, 1, 2),
        # Two blocks under one count, each with what its router needs.
        ("jetmoe", "num_local_experts", 16, 2, 2, 4),
        ("ernie4_5_vl_moe", "moe_num_experts", 16, 2, 2, 4),
        ("llama4_text", "num_local_experts", 8, 2, 1, 2),
        ("listed_moe", "n_routed_experts", 8, 2, 1, 2),
    ],
)
def test_what_is_found(model_type, attribute, num_experts, top_k, num_groups, min_kept):
    model = make_model(model_type)
    assert structure_of(model).attribute == attribute
    for layer in layers_of(model):
        found = (layer.num_experts, layer.top_k, layer.num_groups, layer.min_kept, layer.unprunable_reason)
        assert found == (num_experts, top_k, num_groups, min_kept, "")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_supported_model_is_found_without_a_warning(model_type, caplog):
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap"):
        assert discover_structure(ROWS[model_type].load_class(), make_config(model_type)) is not None
    assert not [each for each in caplog.records if each.name.startswith("optimum_evoesap")]


class MixingBlock(modeling_listed_moe.MaskedBlock):
    """Its logits go from each expert to each other one."""

    def __init__(self, config):
        super().__init__(config)
        self.mix = torch.nn.Parameter(torch.eye(config.n_routed_experts))


def test_a_tensor_with_two_expert_axes_is_refused(monkeypatch):
    monkeypatch.setattr(modeling_listed_moe, "MaskedBlock", MixingBlock)
    model = modeling_listed_moe.ListedMoeForCausalLM(ListedMoeConfig())
    with pytest.raises(ValueError, match=r"layers.0.mlp.mix .* of shape \(8, 8\) grows along its axes 0 and 1"):
        find_moe_layers(model)


class FewSharedBlock(modeling_listed_moe.MaskedBlock):
    def __init__(self, config):
        super().__init__(config)
        if config.num_spare_experts > 2:
            raise KeyError("no place for so many")


def test_an_attribute_that_cannot_be_tried_is_told(monkeypatch, caplog):
    """It may be the one that really counts the experts."""
    monkeypatch.setattr(modeling_listed_moe, "MaskedBlock", FewSharedBlock)
    model = modeling_listed_moe.ListedMoeForCausalLM(ListedMoeConfig(num_spare_experts=2))
    assert [layer.attribute for layer in find_moe_layers(model)] == ["n_routed_experts"] * 2
    for part in ("ListedMoeForCausalLM", "num_spare_experts (KeyError: 'no place", "n_routed_experts is taken for"):
        assert part in caplog.text


@pytest.mark.parametrize(
    ("n_group", "topk_group", "top_k", "expected"),
    [
        (4, 1, 3, (4, 12)),  # all three from one group
        (4, 4, 3, (4, 8)),  # one from each would do, but a group is scored by its best two
        (8, 4, 8, (8, 16)),  # DeepSeek-V3
        (1, 1, 6, (1, 6)),
        (None, None, 1, (1, 2)),
    ],
)
def test_the_fewest_experts_of_a_group_limited_router(n_group, topk_group, top_k, expected):
    config = make_config("deepseek_v3")
    config.n_group, config.topk_group = n_group, topk_group
    assert group_limits(config, top_k) == expected


def test_numbers_that_move_otherwise_are_no_expert_axis():
    assert affine([8, 16, 24], 8) == (1, 0)
    assert affine([12, 20, 28], 8) == (1, 4)
    assert affine([24, 48, 72], 8) == (3, 0)
    for values in ([8, 8, 8], [8, 16, 32], [8, 12, 16], [24, 16, 8], [8, 16, None], [8, 16]):
        assert affine(values, 8) is None


def test_hash_routed_layers_stay_whole(caplog):
    model = make_model("deepseek_v4")
    layers = layers_of(model)
    assert [bool(layer.unprunable_reason) for layer in layers] == [True, False, False]
    assert layers[0].min_kept == layers[0].num_experts == 8
    with caplog.at_level(logging.WARNING):
        space = allocation_space(EvoESAPConfig(sparsity=0.5), layers)
    assert space.max_removed == (0, 6, 6) and space.budget == 12 and space.uniform() == (0, 6, 6)
    assert any(
        "Layer 0 stays whole: its experts are chosen by a fixed table" in each.message for each in caplog.records
    )
    with pytest.raises(ValueError, match=r"from layer 0 \(sparse layer number 0\); none can go"):
        allocation_space(EvoESAPConfig(allocation={0: 1}), layers)
    with pytest.raises(ValueError, match="can lose only 12"):
        allocation_space(EvoESAPConfig(sparsity=0.6), layers)
    assert "fixed table" in inspect_model(model).layers[0].unprunable_reason


def test_parameters_of_an_expert_where_blocks_differ():
    model = make_model("ernie4_5_vl_moe")
    text, vision = model.config.text_config.moe_intermediate_size[:2]
    hidden = model.config.text_config.hidden_size
    assert text != vision
    # Three projections, the router's row and its selection bias.
    assert inspect_model(model).layers[0].parameters_per_expert == 3 * hidden * text + hidden + 1


def test_a_route_without_weight_is_not_counted():
    model = make_model("olmoe")
    observer = ExpertObserver(layers_of(model)[:1])
    with observer, observer.batch(TOKENS):
        layer = layers_of(model)[0]
        record = observer._recorder(layer, layer.blocks[0], 0)
        # A token that is skipped, and two zero experts behind the eight.
        experts, weights = torch.tensor([-1, 1, 2, 8, 10]), torch.tensor([0.5, 0.5, 0.0, 0.5, 0.5])
        record(Routes(experts, weights, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.arange(5), 6))
    sums = observer.statistics().layers[layer.index]
    assert sums.routed_tokens.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert sums.weighted_norm_sum.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_a_top_k_that_was_read_wrongly_is_noticed():
    model = make_model("olmoe")
    sparse_model = sparse_model_of(model)
    sparse_model.layers[1].blocks[0].top_k = 3
    with pytest.raises(ValueError, match="works on 2 experts a token, not on 3"):
        observe_experts(sparse_model, [{"input_ids": TOKENS}], progress=False)


def test_experts_that_no_token_reaches_are_named(caplog):
    model = make_model("ernie4_5_vl_moe")
    with caplog.at_level(logging.WARNING):
        observe_experts(sparse_model_of(model), [{"input_ids": TOKENS}], progress=False)
    assert "mlp.vision_moe.experts of layer 1" in caplog.text and "mlp.text_moe" not in caplog.text


def test_other_overrides_of_a_layer_hold_under_the_virtual_slice():
    model = make_model("gemma4_text")
    layers = layers_of(model)
    before = [layer.modules[0].self_attn.config for layer in layers]
    overrides = [per_layer_overrides(model.config).get(layer.index, {}) for layer in layers]
    assert any(overrides)
    with VirtualSlice(layers, {layer.index: [0, 1, 2] for layer in layers}):
        for layer, values in zip(layers, overrides):
            config = layer.modules[0].self_attn.config
            assert config.num_experts == 3
            assert all(getattr(config, name) == value for name, value in values.items())
    assert [layer.modules[0].self_attn.config for layer in layers] == before


def test_frozen_parameters_stay_frozen():
    model = make_model("olmoe").requires_grad_(False)
    remove_experts(model, layers_of(model), structure_of(model), {0: [1, 2, 3], 1: [0, 7], 2: [4, 5]})
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_nested_count_is_written_for_every_layer():
    config = make_config("dbrx")
    config.num_hidden_layers = 3
    write_expert_counts(config, "moe_num_experts", {0: 3, 2: 5})  # as if layer 1 were dense
    assert [values["moe_num_experts"] for _, values in sorted(per_layer_overrides(config).items())] == [3, 8, 5]
    write_expert_counts(config, "moe_num_experts", {0: 4, 2: 4})
    assert per_layer_overrides(config) == {} and config.ffn_config.moe_num_experts == 4


def test_the_config_of_a_layer_survives_pickling():
    config = make_config("olmoe")
    view = pickle.loads(pickle.dumps(layer_config(config, {"num_experts": 3})))
    assert view.num_experts == 3 and view.hidden_size == config.hidden_size


def test_an_output_layer_with_a_forward_of_its_own_gets_it_back():
    model = make_model("olmoe")
    linear = output_layer(model)
    own = linear.forward
    vars(linear)["forward"] = own  # as a hook of accelerate's
    hidden = final_hidden_states(model, {"input_ids": TOKENS})
    assert vars(linear)["forward"] is own
    with torch.no_grad():
        assert torch.equal(own(hidden), model(TOKENS).logits)


def test_logits_that_must_have_their_shape_do_no_harm():
    model = make_model("olmoe")
    plain = model.forward

    def forward(input_ids, **options):
        outputs = plain(input_ids=input_ids, **options)
        outputs.logits = outputs.logits.reshape(*input_ids.shape, model.config.vocab_size)
        return outputs

    expected = final_hidden_states(model, {"input_ids": TOKENS})
    model.forward = forward
    assert torch.equal(final_hidden_states(model, {"input_ids": TOKENS}), expected)


def test_quantization_is_refused_before_weights_are_read(tmp_path):
    make_config("olmoe").save_pretrained(tmp_path)  # a config and no weights
    with pytest.raises(ValueError, match="leave it out, prune"):
        MoEPruner.from_pretrained(tmp_path, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert AutoConfig.from_pretrained(tmp_path).quantization_config
    with pytest.raises(ValueError, match=r"is quantized \(gptq, says quantization_config"):
        MoEPruner.from_pretrained(tmp_path)


def test_counts_that_are_no_whole_numbers_are_refused():
    pruner = MoEPruner(make_model("olmoe"), EvoESAPConfig(sparsity=0.25))
    with pytest.raises(ValueError, match="removes 2.5 experts"):
        pruner.space.check([2.5, 2, 1.5])
