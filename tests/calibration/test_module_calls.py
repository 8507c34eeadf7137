# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The smallest module with a layer's routers and experts, and its calls."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from optimum_evoesap.calibration.module_calls import CallWatch, smallest_modules
from tests.model_matrix import layers_of, make_model, random_tokens


TOKENS = random_tokens(2, 12)
SMALLEST = {
    "olmoe": ["model.layers.1.mlp"],
    "dbrx": ["transformer.blocks.1.ffn"],
    "listed_moe": ["model.layers.1.mlp"],
    "ernie4_5_vl_moe": ["model.language_model.layers.1.mlp"],
    "jetmoe": ["model.layers.1"],
    "gemma4_text": ["model.layers.1"],
    "diffusion_gemma": ["model.encoder.language_model.layers.1", "model.decoder.layers.1"],
}


@pytest.mark.parametrize("model_type", SMALLEST)
def test_the_smallest_module_with_routers_and_experts(model_type):
    model = make_model(model_type)
    names = {module: name for name, module in model.named_modules()}
    (layer,) = (layer for layer in layers_of(model) if layer.index == 1)
    assert sorted(names[module] for module in smallest_modules(layer)) == sorted(SMALLEST[model_type])


def calls_of(model, module, use=lambda call: None):
    calls = []
    with ExitStack() as undo, torch.no_grad():
        CallWatch(module, lambda call: calls.append((call, use(call)))).watch(undo)
        model(input_ids=TOKENS, use_cache=False)
    return calls


def test_a_call_can_be_made_again_and_on_some_tokens():
    model = make_model("mixtral")
    (module,) = smallest_modules(layers_of(model)[0])
    rows = torch.tensor([20, 3], device=TOKENS.device)
    ((call, (again, some)),) = calls_of(model, module, lambda call: (call.again(), call.on_rows(rows)))
    assert call.can_take_rows and call.output.shape == (TOKENS.numel(), model.config.hidden_size)
    assert torch.equal(again, call.output)
    torch.testing.assert_close(some, call.output[rows])
    model(input_ids=TOKENS)  # not watched any more


def test_a_decoder_layer_takes_no_rows():
    model = make_model("gemma4_text")
    ((call, again),) = calls_of(model, model.model.layers[1], lambda call: call.again())
    assert not call.can_take_rows
    assert torch.equal(again, call.output)


def test_a_call_with_a_cache_can_be_made_again():
    """The encoder of DiffusionGemma fills a cache: again, it must not find what it wrote."""
    model = make_model("diffusion_gemma")
    encoder = model.model.encoder.language_model.layers[1]
    ((call, (again, third)),) = calls_of(model, encoder, lambda call: (call.again(), call.again()))
    assert torch.equal(again, call.output) and torch.equal(third, call.output)


def test_what_a_module_writes_into_its_input_is_undone_for_the_next_call():
    model = make_model("mixtral")
    (module,) = smallest_modules(layers_of(model)[0])
    inner = module.forward

    def forward(hidden):
        output = inner(hidden)
        hidden.zero_()
        return output

    module.forward = forward
    ((call, again),) = calls_of(model, module, lambda call: call.again())
    assert torch.equal(again, call.output) and again.abs().sum() > 0
