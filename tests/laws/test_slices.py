# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The law that virtual slice = real slice = reload, and what a pruned model can do, over every architecture."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.heterogeneous.attributes import global_value, per_layer_overrides
from tests.laws.helpers import TOKENS, logits, prune, reload, skip_what_fails_unpruned
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_kept, structure_of, uniformly_kept


@pytest.fixture(scope="module", params=MODEL_TYPES)
def row(request, tmp_path_factory):
    """A model pruned non-uniformly, its logits before, under the virtual slice and after, and its checkpoint."""
    model = make_model(request.param)
    whole = logits(model)
    kept = random_kept(layers_of(model), 1)
    virtual, sliced = prune(model, kept)
    folder = tmp_path_factory.mktemp("row")
    reloaded = reload(model, folder, max_shard_size="20KB")
    return {
        "type": request.param,
        "model": model,
        "kept": kept,
        "whole": whole,
        "virtual": virtual,
        "sliced": sliced,
        "folder": folder,
        "reloaded": reloaded,
    }


def test_virtual_slice_is_the_slice_is_the_reload(row):
    assert len({len(kept) for kept in row["kept"].values()}) > 1, "the allocation must be non-uniform"
    assert not torch.allclose(row["sliced"], row["whole"], atol=1e-2), "pruning must change something"
    assert len(list(row["folder"].glob("*.safetensors"))) > 1, "the checkpoint must be in several shards"
    assert torch.equal(row["virtual"], row["sliced"])
    assert torch.equal(row["sliced"], logits(row["reloaded"]))


def test_resaving_a_reloaded_model_keeps_it(row, tmp_path):
    assert torch.equal(logits(reload(row["reloaded"], tmp_path)), row["sliced"])


def test_generate_with_cache_is_generate_without(row):
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    answers = []
    for model, use_cache in ((row["reloaded"], True), (row["reloaded"], False), (row["model"], True)):
        torch.manual_seed(0)
        answer = model.generate(TOKENS, use_cache=use_cache, **options)
        answers.append(getattr(answer, "sequences", answer))
    assert answers[0].shape[1] > TOKENS.shape[1]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])


def test_auxiliary_loss_takes_layers_of_different_size(row):
    loss = getattr(sys.modules[type(row["model"]).__module__], "load_balancing_loss_func", None)
    if loss is None:
        pytest.skip(f"{row['type']} has no auxiliary loss")
    skip_what_fails_unpruned(row["type"], labels=TOKENS, output_router_logits=True, needs="aux_loss")
    reloaded = row["reloaded"]
    outputs = reloaded(input_ids=TOKENS, labels=TOKENS, output_router_logits=True)
    assert torch.isfinite(outputs.loss) and torch.isfinite(outputs.aux_loss) and outputs.aux_loss > 0
    outputs.loss.backward()
    in_memory = row["model"](input_ids=TOKENS, output_router_logits=True)
    torch.testing.assert_close(outputs.aux_loss, in_memory.aux_loss)
    if outputs.router_logits is None:
        return  # this release does not hand them out
    # As transformers computes it, with every missing expert as one that is never chosen.
    most = max(layer.experts_per_block for layer in layers_of(reloaded))
    pad = torch.nn.functional.pad
    padded = tuple(pad(each, (0, most - each.shape[-1]), value=float("-inf")) for each in outputs.router_logits)
    config = reloaded.config.get_text_config(decoder=True)
    total = global_value(config, structure_of(reloaded).attribute)
    by_hand = loss.__wrapped__(padded, most, layers_of(reloaded)[0].top_k) / most * total
    torch.testing.assert_close(outputs.aux_loss, by_hand)


def test_a_pruned_model_can_be_pruned_again(row):
    model = copy.deepcopy(row["reloaded"])
    layers = layers_of(model)
    assert {layer.index: layer.num_experts for layer in layers if layer.index in row["kept"]} == {
        index: len(kept) for index, kept in row["kept"].items()
    }
    fullest = max((layer for layer in layers if not layer.unprunable_reason), key=lambda layer: layer.num_experts)
    least = uniformly_kept(fullest, fullest.min_kept // len(fullest.blocks))
    virtual, sliced = prune(model, {fullest.index: least})
    assert torch.equal(virtual, sliced)
    assert not torch.equal(sliced, row["sliced"])


def test_a_copy_of_a_pruned_model_is_independent(row):
    twin = copy.deepcopy(row["reloaded"])
    assert torch.equal(logits(twin), row["sliced"])
    twin.config.get_text_config(decoder=True).initializer_range = 0.125
    for model, expected in ((twin, 0.125), (row["reloaded"], 0.4)):
        kind = type(model.config.get_text_config(decoder=True))
        modules = (module for layer in layers_of(model) for whole in layer.modules for module in whole.modules())
        held = [vars(module)["config"] for module in modules if isinstance(vars(module).get("config"), kind)]
        assert held and all(config.initializer_range == expected for config in held)


def test_modules_of_a_layer_hold_its_config_in_memory_as_after_the_reload(row):
    attribute = structure_of(row["model"]).attribute
    kind = type(row["reloaded"].config.get_text_config(decoder=True))
    held = [
        (layer.experts_per_block, vars(module)["config"])
        for in_memory, reloaded in zip(layers_of(row["model"]), layers_of(row["reloaded"]), strict=True)
        for layer, others in ((in_memory, reloaded.modules), (reloaded, in_memory.modules))
        for one, other in zip(layer.modules, others, strict=True)
        for module, twin in zip(one.modules(), other.modules(), strict=True)
        if isinstance(vars(module).get("config") or vars(twin).get("config"), kind)
    ]
    assert held, "no module keeps a config that could be wrong"
    assert all(global_value(config, attribute) == experts for experts, config in held)


def test_per_layer_config_names_the_attribute_that_is_read(row):
    attribute = structure_of(row["model"]).attribute
    config = json.loads((row["folder"] / "config.json").read_text())
    assert "allow_global_per_layer_attribute_access" not in json.dumps(config)
    text_config = type(row["model"]).config_class.from_pretrained(row["folder"]).get_text_config(decoder=True)
    assert attribute not in text_config.attribute_map
    counts = {layer: values.get(attribute) for layer, values in per_layer_overrides(text_config).items()}
    total = global_value(text_config, attribute)
    for layer in layers_of(row["model"]):
        # A count equal to the config-wide one needs no override, and transformers drops it.
        assert (counts.get(layer.index) or total) == layer.experts_per_block
