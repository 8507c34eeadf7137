# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The laws of keep logits over every architecture: right gradients, exact budgets, and a model that is as it was."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.models.frozen import frozen
from optimum_evoesap.models.output_head import differentiable_hidden_states
from optimum_evoesap.search.candidate import check_candidate
from optimum_evoesap.search.keep_logits.gradient_check import can_recompute, check_gradients
from optimum_evoesap.search.keep_logits.logits import candidate_of
from optimum_evoesap.search.keep_logits.schedule import TrainingSchedule
from optimum_evoesap.search.planning import allocation_space
from optimum_evoesap.search.rounds import KeepLogits
from optimum_evoesap.search.trainer import TrainingData, make_trainer
from tests.laws.helpers import TOKENS, WITHOUT_NEXT_TOKEN, logits
from tests.model_matrix import MODEL_TYPES, make_model, random_tokens, sparse_model_of


# Their code runs the experts without gradients.
WITHOUT_GRADIENT = ("listed_moe",)
# What one layer computes depends on random numbers.
NEVER_THE_SAME = ("diffusion_gemma",)
TRAINABLE = [name for name in MODEL_TYPES if name not in WITHOUT_GRADIENT]
EPSILON = 1e-2


def traces(model):
    """All that a training may leave behind."""
    for name, module in model.named_modules():
        yield name, len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module)
    yield from ((name, parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("model_type", TRAINABLE)
def test_the_gradient_is_what_a_small_change_of_the_gate_weights_makes(model_type):
    model = make_model(model_type)
    sparse_model, before = sparse_model_of(model), list(traces(model))
    # Nothing is routed after the last one, so that what it gives is smooth.
    layer = [each for each in sparse_model.layers if not each.unprunable_reason][-1]

    def value(factors):
        with frozen(model), ExitStack() as undo:
            layer.weigh(factors, undo)
            torch.manual_seed(0)
            hidden = differentiable_hidden_states(model, {"input_ids": TOKENS})
            # The norm at the end makes all sizes alike.
            return (hidden.double() * torch.randn(hidden.shape, dtype=torch.double)).sum()

    factors = torch.ones(layer.num_experts, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(factors), factors)
    assert gradient.isfinite().all() and gradient.any()
    direction = torch.sign(gradient)
    with torch.no_grad():
        change = value(factors + EPSILON * direction) - value(factors - EPSILON * direction)
    assert float(change / (2 * EPSILON)) == pytest.approx(float((gradient * direction).sum()), rel=2e-2)
    assert list(traces(model)) == before


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_weights_of_one_change_no_bit_and_those_of_zero_leave_out(model_type):
    model = make_model(model_type)
    sparse_model, expected = sparse_model_of(model), logits(model)
    layers = [each for each in sparse_model.layers if not each.unprunable_reason]
    for factor in (1.0, 0.0):
        with ExitStack() as undo:
            for layer in layers:
                layer.weigh(torch.full((layer.num_experts,), factor), undo)
            assert torch.equal(logits(model), expected) == (factor == 1.0)
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("model_type", [name for name in TRAINABLE if name not in NEVER_THE_SAME])
def test_what_is_computed_again_gives_the_same_gradients(model_type):
    model = make_model(model_type)
    before = list(traces(model))
    assert can_recompute(sparse_model_of(model), TOKENS)
    assert list(traces(model)) == before


@pytest.mark.parametrize("model_type", WITHOUT_GRADIENT)
def test_a_model_that_lets_no_gradient_through_is_refused_with_its_layers(model_type):
    with pytest.raises(ValueError, match=r"No gradient reaches the experts of the layers \[1\] of ListedMoe.*guided"):
        check_gradients(sparse_model_of(make_model(model_type)), TOKENS)


@pytest.mark.parametrize("model_type", [name for name in TRAINABLE if name not in WITHOUT_NEXT_TOKEN])
def test_training_keeps_the_budget_and_leaves_the_model_as_it_was(model_type):
    model = make_model(model_type)
    sparse_model, before = sparse_model_of(model), list(traces(model))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    space = allocation_space(EvoESAPConfig(sparsity=0.25), sparse_model.layers)
    tokens = random_tokens(4, 12)
    data = TrainingData([{"input_ids": part, "labels": part} for part in tokens.split(2)])
    start = {layer: [0.0] * total for layer, total in zip(space.layers, space.num_experts)}
    asked = KeepLogits(start, TrainingSchedule(num_tokens=96, tokens_a_step=24))

    def train():
        return make_trainer(sparse_model, space, 3, data).train(asked, lambda share: None)

    found = train()
    assert train() == found, "the same seed gives the same bits"
    assert all(map(math.isfinite, (value for values in found.values() for value in values)))
    check_candidate(candidate_of(found, space), space)
    for layer, limit in zip(space.layers, space.max_removed):
        assert (len(set(found[layer])) > 1) == (limit > 0)
    assert list(traces(model)) == before
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name

    class Stopped(Exception):
        pass

    def stop(share):
        raise Stopped

    with pytest.raises(Stopped):
        make_trainer(sparse_model, replace(space), 3, data).train(asked, stop)
    assert list(traces(model)) == before
