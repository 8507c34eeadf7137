# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What weights without an expert are: those left as they are, or larger where the router's always sum to the same."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from optimum_evoesap.adapters import pre_hook
from optimum_evoesap.adapters.experts_call import ExpertsCall
from tests.laws.helpers import TOKENS, logits
from tests.model_matrix import layers_of, make_model


def weights_at_the_experts(model, block, factors=None):
    """Indices and gate weights with which the experts are called."""
    seen = []

    def keep(module, args, kwargs):
        call = ExpertsCall(args, kwargs)
        seen.append((call.indices.clone(), call.weights.detach().clone()))

    with ExitStack() as undo:
        if factors is not None:
            block.weigh(factors, undo)
        undo.enter_context(pre_hook(block.experts[0], keep))
        logits(model)
    return seen[0]


@pytest.mark.parametrize(("model_type", "is_normalised"), [("olmoe", False), ("glm4_moe", True)])
def test_what_an_expert_loses_goes_in_part_to_others_where_the_router_normalises(model_type, is_normalised):
    model = make_model(model_type)
    block = layers_of(model)[0].blocks[0]
    indices, before = weights_at_the_experts(model, block)
    sums = before.sum(dim=1)
    assert (float(sums.max() - sums.min()) < 1e-3) == is_normalised
    gone = int(indices[0, 0])
    factors = torch.ones(block.num_experts)
    factors[gone] = 0.0
    again, after = weights_at_the_experts(model, block, factors)
    assert torch.equal(again, indices), "nothing is routed anew"
    lost = (before * (indices == gone)).sum(dim=1)
    assert lost.count_nonzero() and (lost == 0).any() and len(lost) == TOKENS.numel()
    growth = (sums / (sums - lost)).sqrt() if is_normalised else torch.ones_like(sums)
    expected = torch.where(indices == gone, 0.0, before * growth[:, None])
    torch.testing.assert_close(after, expected)
    assert torch.equal(after[lost == 0], before[lost == 0]), "no bit of other tokens changes"


def test_a_token_that_has_lost_all_gets_nothing_and_a_finite_gradient():
    model = make_model("glm4_moe")
    block = layers_of(model)[0].blocks[0]
    factors = torch.zeros(block.num_experts, requires_grad=True)
    _, after = weights_at_the_experts(model, block, factors)
    assert not after.any()
    with ExitStack() as undo:
        block.weigh(factors, undo)
        model(input_ids=TOKENS).logits.sum().backward()
    assert factors.grad.isfinite().all() and factors.grad.any()
