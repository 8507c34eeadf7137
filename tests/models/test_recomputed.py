# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Activation checkpointing and frozen weights, and that nothing of them is left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optimum_evoesap.models.frozen import frozen
from optimum_evoesap.models.recomputed import recomputed


class Counting(nn.Linear):
    calls = 0

    def forward(self, hidden, scale=1.0):
        self.calls += 1
        return torch.sigmoid(super().forward(hidden)) * scale


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(Counting(4, 4), Counting(4, 4))


def test_modules_run_again_in_the_backward_pass_with_the_same_gradient():
    model, inputs = make_model(), torch.randn(3, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(model(inputs).sum(), inputs)
    with recomputed(model):
        output = model(inputs)
        assert [module.calls for module in model] == [2, 2]
        (found,) = torch.autograd.grad(output.sum(), inputs)
    assert [module.calls for module in model] == [3, 3] and torch.equal(found, expected)
    with recomputed(model), torch.no_grad():
        model(inputs)
    assert [module.calls for module in model] == [4, 4], "without gradients nothing runs twice"


def test_a_forward_that_was_replaced_is_in_place_again_after_an_error():
    model = make_model()
    own = vars(model[0])["forward"] = lambda hidden: hidden + 1
    with pytest.raises(KeyError), recomputed(model):
        assert vars(model[0])["forward"] is not own and "forward" in vars(model[1])
        assert torch.equal(model[0](torch.zeros(1, 4)), torch.ones(1, 4))
        raise KeyError
    assert vars(model[0])["forward"] is own and "forward" not in vars(model[1])


def test_no_weight_wants_a_gradient_and_then_those_that_did_do():
    model = make_model()
    model[0].bias.requires_grad_(False)
    before = [parameter.requires_grad for parameter in model.parameters()]
    with torch.no_grad(), pytest.raises(KeyError), frozen(model):
        inputs = torch.randn(3, 4, requires_grad=True)
        model(inputs).sum().backward()
        assert inputs.grad is not None and all(parameter.grad is None for parameter in model.parameters())
        raise KeyError
    assert [parameter.requires_grad for parameter in model.parameters()] == before
