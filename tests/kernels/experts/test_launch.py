# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The small kernels around the products: groups, gathers, sums, gates."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.experts.helpers import routes
from tests.kernels.machine import DEVICE


pytest.importorskip("triton")

from optimum_evoesap.kernels.experts import launch as experts_launch  # noqa: E402


@pytest.mark.parametrize("num_experts", [1, 5, 254, 255, 256, 300])
def test_routes_are_grouped_by_expert_in_the_order_of_tokens(num_experts):
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(num_experts + 1, (40, 3), generator=generator).to(DEVICE)
    order, places, offsets = experts_launch.group_routes(indices, num_experts)
    flat = indices.flatten()
    assert order.tolist() == sorted(range(flat.numel()), key=lambda route: (flat[route].item(), route))
    assert torch.equal(order[places.long()], torch.arange(flat.numel(), device=DEVICE))
    assert offsets.tolist() == [int((flat <= expert).sum()) for expert in range(num_experts)]


@pytest.mark.parametrize("hidden_size,top_k", [(8, 1), (48, 3), (3000, 8)])
def test_gather_and_weighted_sum_of_any_size(hidden_size, top_k):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, hidden_size, generator=generator).bfloat16().to(DEVICE)
    indices, weights = routes(5, 16, top_k)
    order, places, _ = experts_launch.group_routes(indices, 16)
    rows = experts_launch.spread(hidden, places)
    assert torch.equal(rows, hidden[order // top_k])
    combined, norms = experts_launch.combine(rows, places, indices, weights, 16, with_norms=True)
    expected = hidden.float() * weights.float().sum(1, keepdim=True)
    torch.testing.assert_close(combined.float(), expected, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(norms, hidden.float().norm(dim=1, keepdim=True).expand(-1, top_k), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [8, 40, 1500])
def test_silu_gate_of_any_size(size):
    gate_up = torch.randn(7, 2 * size, generator=torch.Generator().manual_seed(0)).bfloat16().to(DEVICE)
    gate, up = gate_up.float().chunk(2, dim=-1)
    torch.testing.assert_close(
        experts_launch.silu_gate(gate_up).float(), torch.nn.functional.silu(gate) * up, rtol=1e-2, atol=1e-3
    )
