# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Passes that start, and stop, at a decoder layer."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from optimum_evoesap.models.output_head import final_hidden_states
from optimum_evoesap.models.prefix import LayeredForward, copy_output, join_outputs, map_output
from tests.model_matrix import make_model, random_kept, random_tokens, sparse_model_of


@pytest.fixture
def sparse_model():
    return sparse_model_of(make_model("olmoe"))


@pytest.fixture
def inputs():
    return {"input_ids": random_tokens(2, 12)}


@torch.no_grad()
def test_a_pass_from_any_layer_to_any_layer_is_the_whole_one(sparse_model, inputs):
    forward = LayeredForward(sparse_model)
    number = len(forward.decoder_layers)
    whole = final_hidden_states(sparse_model.model, inputs)
    assert number == sparse_model.model.config.num_hidden_layers and torch.equal(forward.hidden(inputs), whole)
    given = {0: None} | {stop: forward.output(inputs, stop) for stop in range(1, number + 1)}
    for layer in range(number + 1):
        assert torch.equal(forward.hidden(inputs, layer, given[layer]), whole)
        for stop in range(layer + 1, number + 1):
            assert torch.equal(forward.output(inputs, stop, layer, given[layer]), given[stop])


@torch.no_grad()
def test_what_is_given_decides_and_what_is_skipped_does_not_run(sparse_model, inputs):
    forward = LayeredForward(sparse_model)
    ran = []
    for number, layer in enumerate(forward.decoder_layers):
        layer.input_layernorm.register_forward_hook(lambda *_, number=number: ran.append(number))
    output = forward.output(inputs, 1)
    assert ran == [0]
    ran.clear()
    changed = forward.hidden(inputs, 1, output + 1)
    assert ran == list(range(1, len(forward.decoder_layers)))
    assert not torch.equal(changed, forward.hidden(inputs, 1, output))


@torch.no_grad()
def test_one_layer_runs_in_each_context_and_those_before_it_once(sparse_model, inputs):
    forward = LayeredForward(sparse_model)
    (layer, one), *_ = random_kept(sparse_model.layers, 3).items()
    calls = []
    forward.decoder_layers[layer].register_forward_pre_hook(lambda *_: calls.append(layer))
    contexts = [sparse_model.sliced({layer: one}), nullcontext()]
    outputs = forward.outputs(inputs, layer + 1, contexts)
    with sparse_model.sliced({layer: one}):
        sliced = forward.output(inputs, layer + 1)
    assert torch.equal(outputs[0], sliced) and torch.equal(outputs[1], forward.output(inputs, layer + 1))
    assert not torch.equal(*outputs) and len(calls) == 3


def test_every_layer_is_itself_again_after_a_failure(sparse_model, inputs):
    forward = LayeredForward(sparse_model)
    own = [vars(layer).get("forward") for layer in forward.decoder_layers]
    with pytest.raises(AttributeError):
        forward.hidden(inputs, 1, given="no tensor")
    assert [vars(layer).get("forward") for layer in forward.decoder_layers] == own == [None] * len(own)


@torch.no_grad()
def test_a_forward_that_somebody_put_there_stays(sparse_model, inputs):
    """As accelerate does where a model is spread over devices."""
    forward = LayeredForward(sparse_model)
    layer = forward.decoder_layers[0]
    own, calls = layer.forward, []

    def hooked(*args, **kwargs):
        calls.append(1)
        return own(*args, **kwargs)

    layer.forward = hooked
    output = forward.output(inputs, 1)
    forward.hidden(inputs, 1, output)
    assert layer.forward is hooked and len(calls) == 1


def test_layers_in_no_list_cannot_be_started_at(sparse_model):
    """Here one module stands at two places, so that it does not say which layer runs."""
    layers = sparse_model.model.model.layers
    sparse_model.model.model.layers = nn.ModuleList([*layers, layers[0]])
    assert LayeredForward(sparse_model).decoder_layers == []


def test_outputs_of_any_form():
    one, other = torch.zeros(2, 3), torch.ones(1, 3)
    output = (one, {"kept": [other, None]}, 5)
    doubled = map_output(lambda tensor: tensor + 1, output)
    assert torch.equal(doubled[0], one + 1) and torch.equal(doubled[1]["kept"][0], other + 1)
    assert doubled[1]["kept"][1] is None and doubled[2] == 5 and isinstance(doubled, tuple)
    copied = copy_output(output)
    copied[0].add_(1)
    assert torch.equal(one, torch.zeros(2, 3))
    joined = join_outputs([output, (other, {"kept": [one, None]}, 5)])
    assert torch.equal(joined[0], torch.cat([one, other])) and torch.equal(
        joined[1]["kept"][0], torch.cat([other, one])
    )
    assert joined[1]["kept"][1] is None and joined[2] == 5
