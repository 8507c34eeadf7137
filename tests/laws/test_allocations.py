# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Any allocation, in any precision, over every architecture: the extreme and the uniform one, and none again."""

from __future__ import annotations

import copy

import pytest
import torch

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.heterogeneous.attributes import global_value, per_layer_overrides
from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.laws.helpers import TOKENS, WITHOUT_NEXT_TOKEN, logits, prune, reload, skip_what_fails_unpruned
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_kept, structure_of, uniformly_kept


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_extreme_allocation(model_type):
    model = make_model(model_type)
    virtual, sliced = prune(model, random_kept(layers_of(model), 4, extreme=True))
    assert torch.equal(virtual, sliced)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_bfloat16(model_type, tmp_path):
    skip_what_fails_unpruned(model_type, torch.bfloat16)
    model = make_model(model_type, torch.bfloat16, seed=2)
    virtual, sliced = prune(model, random_kept(layers_of(model), 2))
    assert torch.equal(virtual, sliced)
    if model_type not in WITHOUT_NEXT_TOKEN:
        assert FitnessScorer(model, [{"input_ids": TOKENS, "labels": TOKENS}]).score().mean == pytest.approx(
            1.0, abs=1e-5
        )
    reloaded = reload(model, tmp_path)
    assert reloaded.dtype == torch.bfloat16
    assert torch.equal(sliced, logits(reloaded))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_leaving_the_virtual_slice_restores_the_model_exactly(model_type):
    model = make_model(model_type)
    layers = layers_of(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    identities = {name: id(value) for name, value in model.named_parameters()}
    configs = [id(vars(module).get("config")) for module in model.modules()]
    integers = [{k: v for k, v in vars(module).items() if isinstance(v, int)} for module in model.modules()]
    whole = logits(model)
    with pytest.raises(KeyboardInterrupt), VirtualSlice(layers, random_kept(layers, 5)):
        assert not torch.equal(logits(model), whole)
        raise KeyboardInterrupt
    assert {name: id(value) for name, value in model.named_parameters()} == identities
    assert [id(vars(module).get("config")) for module in model.modules()] == configs
    assert [{k: v for k, v in vars(module).items() if isinstance(v, int)} for module in model.modules()] == integers
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(model), whole)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_uniform_result_is_what_the_class_builds_with_fewer_experts(model_type, tmp_path):
    """Discovery has found all: an axis or a count that it missed would have another size here."""
    model = make_model(model_type)
    layers = layers_of(model)
    if any(layer.unprunable_reason for layer in layers):
        pytest.skip("a layer that stays whole makes every allocation non-uniform")
    structure = structure_of(model)
    least = max(layer.min_kept // len(layer.blocks) for layer in layers)
    remove_experts(model, layers, structure, {layer.index: uniformly_kept(layer, least) for layer in layers})
    config = model.config.get_text_config(decoder=True)
    assert global_value(config, structure.attribute) == least
    assert all(structure.attribute not in values for values in per_layer_overrides(config).values())

    built = type(model)(copy.deepcopy(model.config))
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in built.state_dict().items()
    }
    for mine, theirs in zip(model.modules(), built.modules()):
        numbers = {name: value for name, value in vars(theirs).items() if type(value) is int}
        assert {name: vars(mine)[name] for name in numbers} == numbers
    assert torch.equal(logits(reload(model, tmp_path)), logits(model))
