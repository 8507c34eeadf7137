# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The product of the rows of each expert with its weight."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.experts.helpers import PRODUCT_DTYPE
from tests.kernels.machine import DEVICE, NEEDS_PRODUCTS


pytest.importorskip("triton")

from optimum_evoesap.kernels.experts import launch as experts_launch  # noqa: E402


@NEEDS_PRODUCTS
@pytest.mark.parametrize("num_experts", [1, 5, 64, 300])
@pytest.mark.parametrize("num_routes", [0, 1, 300, 3000])
def test_rows_of_experts_begin_at_whole_tiles(num_experts, num_routes):
    from optimum_evoesap.kernels.experts.grouped_product import hopper, row_tiles

    generator = torch.Generator().manual_seed(num_experts)
    # Some experts get many, some none, and some routes go to none.
    indices = (num_experts * torch.rand(num_routes, 1, generator=generator) ** 2 * 1.1).long().clamp(max=num_experts)
    order, places, ends = experts_launch.group_routes(indices.to(DEVICE), num_experts)
    tiles = row_tiles(indices.to(DEVICE), places, ends)
    if num_routes == 0:
        assert tiles.num_rows == 0
        return
    counts = indices.flatten().bincount(minlength=num_experts + 1)
    num_tiles = (counts[:-1] + hopper.ROWS - 1) // hopper.ROWS
    first = torch.cat((torch.zeros(1), num_tiles.cumsum(0))).long()
    assert tiles.first_tiles.tolist() == first.tolist()
    owners = torch.arange(num_experts).repeat_interleave(num_tiles)
    assert tiles.expert_of_tile[: len(owners)].tolist() == owners.tolist()
    assert tiles.num_rows >= first[-1] * hopper.ROWS + counts[-1]
    expected = torch.empty(num_routes, dtype=torch.long)
    for expert in range(num_experts + 1):
        mine = (indices.flatten() == expert).nonzero()[:, 0]
        expected[mine] = first[expert] * hopper.ROWS + torch.arange(len(mine))
    assert tiles.places.tolist() == expected.tolist()


@NEEDS_PRODUCTS
@pytest.mark.parametrize("has_silu_gate", [True, False])
@pytest.mark.parametrize("num_tokens,inputs,outputs", [(1, 16, 48), (200, 72, 400)])
def test_grouped_product(num_tokens, inputs, outputs, has_silu_gate):
    """An expert with more rows than a tile, experts without any, routes to none, edges inside tiles."""
    from optimum_evoesap.kernels.experts.grouped_product import grouped_product, row_tiles

    dtype, generator = PRODUCT_DTYPE, torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, inputs, generator=generator).to(DEVICE, dtype)
    weight = (torch.randn(6, outputs, inputs, generator=generator) / inputs**0.5).to(DEVICE, dtype)
    indices = torch.randint(3, 7, (num_tokens, 2), generator=generator)  # 6 is none
    indices[: num_tokens // 2 + 1, 0] = 1
    indices = indices.to(DEVICE)
    _, places, ends = experts_launch.group_routes(indices, 6)
    tiles = row_tiles(indices, places, ends)
    assert tiles.places.unique().numel() == indices.numel() and tiles.places.max() < tiles.num_rows
    found = grouped_product(experts_launch.spread(hidden, tiles.places, tiles.num_rows), weight, tiles, has_silu_gate)
    routes_of_experts = (indices.flatten() < 6).nonzero()[:, 0].tolist()
    assert routes_of_experts
    for route in routes_of_experts:
        expected = weight[indices.flatten()[route]].double() @ hidden[route // 2].double()
        if has_silu_gate:
            gate, up = expected.chunk(2)
            expected = torch.nn.functional.silu(gate) * up
        torch.testing.assert_close(found[tiles.places[route]].double(), expected, rtol=1e-2, atol=1e-2)
