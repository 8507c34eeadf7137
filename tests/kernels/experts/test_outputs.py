# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which experts our own products take, and numbers that stand for no expert."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.experts.helpers import PRODUCT_DTYPE, experts_of
from tests.kernels.machine import DEVICE, NEEDS_PRODUCTS


pytest.importorskip("triton")

from optimum_evoesap.kernels.experts import outputs as experts_outputs  # noqa: E402
from optimum_evoesap.kernels.experts.fused_experts import fused_experts  # noqa: E402


@NEEDS_PRODUCTS
@pytest.mark.parametrize("change", ["none", "bias", "transposed", "strided", "unaligned", "fewer"])
def test_what_our_own_products_do_not_take(change):
    experts, _ = experts_of("olmoe", PRODUCT_DTYPE)
    weights = [experts.gate_up_proj.data, experts.down_proj.data]
    experts.has_bias, experts.is_transposed = change == "bias", change == "transposed"
    if change == "strided":
        weights[0] = weights[0].transpose(1, 2).contiguous().transpose(1, 2)
    if change == "unaligned":
        weights[1] = weights[1][..., :-1].contiguous()
    if change == "fewer":
        weights[0] = weights[0][1:]
    assert experts_outputs._can_tile(experts, *weights) == (change == "none")


@NEEDS_PRODUCTS
def test_numbers_that_stand_for_no_expert_leave_others_alone():
    """With so many experts the numbers are sorted with their sign."""
    experts, hidden_size = experts_of("olmoe", PRODUCT_DTYPE)
    experts.num_experts = 300
    for name in ("gate_up_proj", "down_proj"):
        weight = getattr(experts, name).data
        setattr(experts, name, torch.nn.Parameter(weight[:1].repeat(300, 1, 1)))
    hidden = torch.randn(200, hidden_size, generator=torch.Generator().manual_seed(1)).to(DEVICE, PRODUCT_DTYPE)
    indices = torch.zeros(200, 1, dtype=torch.long, device=DEVICE)
    ones = torch.ones_like(indices, dtype=PRODUCT_DTYPE)
    expected, _ = fused_experts(experts, hidden, indices, ones)
    indices[[7, 90]], indices[[8, 91]] = -1, 300
    expected[[7, 8, 90, 91]] = 0
    assert torch.equal(fused_experts(experts, hidden, indices, ones)[0], expected)
