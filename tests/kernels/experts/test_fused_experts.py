# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The fused experts against a plain loop in float64, on the GPU or in Triton's interpreter."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from tests.kernels.machine import HAS_PRODUCTS, NEEDS_PRODUCTS, PRODUCT_DTYPES
from tests.model_matrix import ROWS, layers_of, make_model


pytest.importorskip("triton")

from optimum_evoesap.kernels.experts import launch as experts_launch  # noqa: E402
from optimum_evoesap.kernels.experts import outputs as experts_outputs
from optimum_evoesap.kernels.experts.fused_experts import fused_experts, norms_listener, runs_fused, supports  # noqa: E402


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# SiLU; another activation; a gate of its own, with biases and transposed weights; no gate at all; a norm
# after each expert.
MODEL_TYPES = ["olmoe", "gemma4_text", "gpt_oss", "nemotron_h", "muse_spark_text"]
MODEL_TYPES = [model_type for model_type in MODEL_TYPES if model_type in ROWS]


PRODUCT_DTYPE = PRODUCT_DTYPES[-1]


@pytest.fixture
def tiled_calls(monkeypatch):
    """The class of each experts module that was run by our own products."""
    calls, outputs_by_tiles = [], experts_outputs._outputs_by_tiles
    monkeypatch.setattr(
        experts_outputs,
        "_outputs_by_tiles",
        lambda experts, *others: calls.append(type(experts)) or outputs_by_tiles(experts, *others),
    )
    return calls


def experts_of(model_type: str, dtype: torch.dtype = torch.bfloat16) -> tuple[torch.nn.Module, int]:
    """An experts module in half precision with random weights and biases, and its hidden size."""
    model = make_model(model_type)
    (experts,) = layers_of(model)[0].blocks[0].experts
    first = experts.gate_up_proj if experts.has_gate else experts.up_proj
    return copy.deepcopy(experts).to(DEVICE, dtype), first.shape[1 if experts.is_transposed else 2]


def routes(num_tokens: int, num_experts: int, top_k: int = 2, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    weights, indices = torch.rand(num_tokens, num_experts, generator=generator).topk(top_k)
    return indices.to(DEVICE), weights.bfloat16().to(DEVICE)


def expected_outputs(experts, hidden, indices):
    """The output of each route in float64, by a loop; shape (tokens, top-k, hidden size)."""
    exact = copy.deepcopy(experts).double()
    outputs = torch.zeros(*indices.shape, hidden.shape[1], dtype=torch.float64, device=DEVICE)
    for token, row in enumerate(indices.tolist()):
        for route, expert in enumerate(row):
            if 0 <= expert < experts.num_experts:
                one = torch.tensor([[expert]], device=DEVICE)
                ones = torch.ones(1, 1, dtype=torch.float64, device=DEVICE)
                outputs[token, route] = type(exact).forward.__wrapped__(exact, hidden[token : token + 1], one, ones)[0]
    return outputs


def relative_error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_fused_experts_are_the_experts(model_type, dtype, tiled_calls):
    """In Triton's interpreter our own products run in float16 alone, and those of torch in bfloat16."""
    experts, hidden_size = experts_of(model_type, dtype)
    hidden = torch.randn(11, hidden_size, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    indices, weights = routes(11, experts.num_experts)
    # They stand for no expert, whatever their weight.
    indices[3, 1], indices[5, 0] = experts.num_experts, -1
    outputs = expected_outputs(experts, hidden.double(), indices)
    found, norms = fused_experts(experts, hidden, indices, weights, with_norms=True)
    standard = (outputs * weights.double()[..., None]).sum(1)
    assert found.dtype == dtype and relative_error(found, standard) < 1e-2
    torch.testing.assert_close(norms.double(), outputs.norm(dim=-1), rtol=2e-2, atol=1e-6)
    assert norms[3, 1] == norms[5, 0] == 0
    # Those of GPT-OSS have biases, and their weights are transposed.
    assert bool(tiled_calls) == (HAS_PRODUCTS and model_type != "gpt_oss" and dtype in PRODUCT_DTYPES)
    in_float, _ = fused_experts(experts, hidden.float(), indices, weights)
    assert in_float.dtype == torch.float32 and relative_error(in_float, standard) < 1e-2
    assert not torch.equal(in_float, found.float())  # the sum is not rounded
    without, empty = fused_experts(experts, hidden, indices, weights)
    assert torch.equal(without, found) and empty.numel() == 0


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU: Triton's interpreter cuts bfloat16 off in place of rounding")
def test_error_is_not_above_that_of_transformers():
    experts, hidden_size = experts_of("olmoe")
    hidden = torch.randn(64, hidden_size, generator=torch.Generator().manual_seed(1)).bfloat16().to(DEVICE)
    indices, weights = routes(64, experts.num_experts)
    expected = (expected_outputs(experts, hidden.double(), indices) * weights.double()[..., None]).sum(1)
    found, _ = fused_experts(experts, hidden, indices, weights)
    standard = ALL_EXPERTS_FUNCTIONS["grouped_mm"](experts, hidden, indices, weights)
    assert relative_error(found, expected) <= 1.05 * relative_error(standard, expected)


@pytest.mark.parametrize("num_experts", [1, 5, 254, 255, 256, 300])
def test_routes_are_grouped_by_expert_in_the_order_of_tokens(num_experts):
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(num_experts + 1, (40, 3), generator=generator).to(DEVICE)
    order, places, offsets = experts_launch.group_routes(indices, num_experts)
    flat = indices.flatten()
    assert order.tolist() == sorted(range(flat.numel()), key=lambda route: (flat[route].item(), route))
    assert torch.equal(order[places.long()], torch.arange(flat.numel(), device=DEVICE))
    assert offsets.tolist() == [int((flat <= expert).sum()) for expert in range(num_experts)]


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


def test_no_tokens_at_all():
    experts, hidden_size = experts_of("olmoe")
    hidden = torch.zeros(0, hidden_size, dtype=torch.bfloat16, device=DEVICE)
    indices, weights = routes(0, experts.num_experts)
    assert experts_launch.spread(hidden, indices.flatten()).shape == (0, hidden_size)
    assert experts_launch.combine(hidden, indices.flatten(), indices, weights, 8, False)[0].shape == hidden.shape
    assert fused_experts(experts, hidden, indices, weights)[0].shape == hidden.shape


def test_anyone_can_choose_it_and_gradients_flow():
    model = make_model("olmoe")
    tokens = torch.arange(4, 20, device=model.device)[None]
    expected = model(tokens).logits
    model.set_experts_implementation("evoesap")
    logits = model(tokens).logits
    torch.testing.assert_close(logits, expected)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_listener_never_waits_in_vain():
    experts, hidden_size = experts_of("olmoe")
    experts.config._experts_implementation_internal = "evoesap"
    assert runs_fused(experts) == supports(experts)
    hidden = torch.zeros(1, 3, hidden_size, device=DEVICE)  # with a batch axis
    with norms_listener(experts, lambda *_: None), pytest.raises(ValueError, match="cannot be observed"):
        experts(hidden, *routes(3, experts.num_experts))
