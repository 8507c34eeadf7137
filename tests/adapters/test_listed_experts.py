# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Blocks with a `ModuleList` of experts in the forms that remote code has, and those that must be refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.adapters import find_moe_layers, model_structure
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.models.sparse_model import SparseModel
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import make_model, random_tokens
from tests.remote_code import modeling_listed_moe
from tests.remote_code.configuration_listed_moe import ListedMoeConfig


TOKENS = random_tokens(2, 24)


def statistics_of(model):
    return observe_experts(SparseModel(model), [{"input_ids": TOKENS}], progress=False)


def remake(monkeypatch, block, dtype=torch.float32):
    """The model of the matrix with another block in its even layers and the same weights."""
    source = make_model("listed_moe")
    monkeypatch.setattr(modeling_listed_moe, "MaskedBlock", block)
    model = modeling_listed_moe.ListedMoeForCausalLM(ListedMoeConfig()).eval()
    model.load_state_dict(source.state_dict(), strict=False)
    return model.to(dtype)


class TupleExpert(modeling_listed_moe.ListedExpert):
    def forward(self, hidden):
        return super().forward(hidden), None


class OtherForm(modeling_listed_moe.MaskedBlock):
    """Experts return tuples and are called by keyword; the block looks at their weights and spoils its input."""

    def __init__(self, config):
        super().__init__(config)
        self.experts = nn.ModuleList([TupleExpert(config) for _ in range(self.num_experts)])

    def forward(self, hidden):
        flat = hidden.view(-1, hidden.shape[-1])
        weights, chosen = torch.topk(self.gate(flat).softmax(-1, dtype=torch.float), self.top_k, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        total = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            output, _ = expert(hidden=flat[token].to(self.experts[0].gate_proj.weight.dtype))
            total.index_add_(0, token, output * weights[token, place, None])
        hidden.zero_()
        return total.view(hidden.shape), None


def test_other_forms_give_the_same_statistics(monkeypatch):
    expected = statistics_of(make_model("listed_moe"))
    found = statistics_of(remake(monkeypatch, OtherForm))
    for name in ("norm_sum", "weight_sum", "weighted_norm_sum"):
        torch.testing.assert_close(getattr(found.layers[0], name), getattr(expected.layers[0], name))


def test_bfloat16_keeps_every_route_and_the_order_beside_a_large_shared_expert():
    model = make_model("listed_moe")
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.gate.weight *= 6
        model.model.layers[1].mlp.shared_experts.down_proj.weight *= 30
    exact = statistics_of(model).layers[1]
    found = statistics_of(model.bfloat16()).layers[1]
    # A sigmoid so steep gives some routes a weight of zero in bfloat16, no more.
    assert exact.routed_tokens.sum() == found.routed_tokens.sum() == 2 * TOKENS.numel()
    torch.testing.assert_close(found.weight_sum, exact.weight_sum, rtol=0.1, atol=0.5)


class Normed(modeling_listed_moe.MaskedBlock):
    def forward(self, hidden):
        total, logits = super().forward(hidden)
        return nn.functional.rms_norm(total, total.shape[-1:]), logits


class Limited(modeling_listed_moe.MaskedBlock):
    def forward(self, hidden):
        total, logits = super().forward(hidden)
        return total.clamp(-5, 5), logits


@pytest.mark.parametrize("block", [Normed, Limited])
def test_a_block_that_is_not_linear_is_refused(monkeypatch, block):
    with pytest.raises(ValueError, match="is not the sum of what its experts return"):
        statistics_of(remake(monkeypatch, block))


def test_more_experts_than_hidden_values_are_refused():
    model = modeling_listed_moe.ListedMoeForCausalLM(ListedMoeConfig(n_routed_experts=40)).eval()
    with pytest.raises(ValueError, match="40 experts and only 32 hidden values"):
        statistics_of(model)


class TwoLists(modeling_listed_moe.MaskedBlock):
    def __init__(self, config):
        super().__init__(config)
        self.others = nn.ModuleList([nn.Linear(32, 32) for _ in range(config.n_routed_experts)])


def test_two_lists_in_a_block_are_refused(monkeypatch):
    monkeypatch.setattr(modeling_listed_moe, "MaskedBlock", TwoLists)
    model = modeling_listed_moe.ListedMoeForCausalLM(ListedMoeConfig())
    with pytest.raises(ValueError, match="several lists or tensors"):
        find_moe_layers(model, model_structure(model))


def test_observing_leaves_the_experts_as_they_were():
    model = make_model("listed_moe")
    expert = model.model.layers[0].mlp.experts[0]
    own = expert.forward
    vars(expert)["forward"] = own  # as a hook of accelerate's
    statistics_of(model)
    assert vars(expert)["forward"] is own and "forward" not in vars(model.model.layers[0].mlp.experts[1])
    with VirtualSlice(find_moe_layers(model), {0: [0, 3]}):
        assert len(model.model.layers[0].mlp.experts) == 2
    assert len(model.model.layers[0].mlp.experts) == 8


def test_layers_that_could_not_be_built_again_are_refused_before_the_work(monkeypatch):
    plain = modeling_listed_moe.ListedMoeDecoderLayer.__init__
    plain = getattr(plain, "__wrapped__", plain)
    monkeypatch.setattr(modeling_listed_moe.ListedMoeDecoderLayer, "__init__", lambda *parts: plain(*parts))
    model = modeling_listed_moe.ListedMoeForCausalLM(ListedMoeConfig())
    with pytest.raises(ValueError, match="could not be loaded again.*layer_idx"):
        MoEPruner(model)
    assert MoEPruner(model, EvoESAPConfig(allocation="uniform", sparsity=0.5)).sparse_layers == [0, 1]
