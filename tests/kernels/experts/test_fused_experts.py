# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The fused experts against a plain loop in float64, on the GPU or in Triton's interpreter."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from tests.kernels.experts.helpers import experts_of, routes
from tests.kernels.machine import DEVICE, HAS_PRODUCTS, PRODUCT_DTYPES
from tests.model_matrix import ROWS, make_model


pytest.importorskip("triton")

from optimum_evoesap.kernels.experts import launch as experts_launch  # noqa: E402
from optimum_evoesap.kernels.experts import outputs as experts_outputs  # noqa: E402
from optimum_evoesap.kernels.experts.fused_experts import fused_experts, norms_listener, runs_fused, supports  # noqa: E402


# SiLU; another activation; a gate of its own, with biases and transposed weights; no gate at all; a norm
# after each expert.
MODEL_TYPES = ["olmoe", "gemma4_text", "gpt_oss", "nemotron_h", "muse_spark_text"]
MODEL_TYPES = [model_type for model_type in MODEL_TYPES if model_type in ROWS]


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


def test_a_listener_of_norms_leaves_no_trace():
    module = nn.Module()
    before = dict(vars(module))
    with norms_listener(module, lambda *_: None):
        outer = dict(vars(module))
        with norms_listener(module, lambda *_: None):
            assert vars(module) != outer
        assert vars(module) == outer != before
    assert vars(module) == before
