# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Norms and rotary embedding in their fast forms, and the laws of the whole forward on a GPU."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.kernels.experts import runs_fused
from optimum_evoesap.kernels.fast_forward import fast_forward
from optimum_evoesap.kernels.norms import find_rms_norm, fused_norms
from optimum_evoesap.kernels.rotary import fused_rotary, is_common_form, rotate
from optimum_evoesap.observer import observe_experts
from optimum_evoesap.surgery import remove_experts
from optimum_evoesap.virtual_slice import VirtualSlice

from ..model_matrix import VOCABULARY, layers_of, make_model, random_kept, structure_of


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_GPU = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
TOKENS = torch.randint(3, VOCABULARY - 6, (2, 24), generator=torch.Generator().manual_seed(0))


class GatedRMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, hidden, gate):
        return hidden * gate


class ScaledRMSNorm(GatedRMSNorm):
    def forward(self, hidden):
        return 1.1 * nn.functional.rms_norm(hidden, (8,), self.weight, self.eps)


@pytest.mark.parametrize("model_type,known", [("olmoe", True), ("qwen3_next", True), ("gemma4_text", True)])
def test_norms_of_models_are_found(model_type, known):
    model = make_model(model_type)
    norms = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    found = [norm for module in norms if (norm := find_rms_norm(module, on_any_device=True)) is not None]
    assert norms and bool(found) == known
    for module, norm in ((module, find_rms_norm(module, on_any_device=True)) for module in norms):
        if norm is not None:
            hidden = 3 * torch.randn(4, module.weight.shape[0], device=module.weight.device)
            torch.testing.assert_close(norm(hidden), module(hidden), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [GatedRMSNorm(), ScaledRMSNorm(), nn.LayerNorm(8)])
def test_other_norms_stay(norm):
    assert find_rms_norm(norm, on_any_device=True) is None


@pytest.mark.parametrize(
    "model_type,common", [("olmoe", True), ("qwen3_moe", True), ("gpt_oss", False), ("ernie4_5_moe", False)]
)
def test_the_common_rotary_form_is_told_from_others(model_type, common):
    module = importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")
    assert is_common_form(module.apply_rotary_pos_emb) == common


@pytest.mark.parametrize("heads,head_size,cos_batch", [(1, 8, 1), (5, 48, 2), (32, 128, 2)])
def test_rotary_kernel(heads, head_size, cos_batch):
    pytest.importorskip("triton")
    generator = torch.Generator().manual_seed(0)
    # Heads and tokens lie as a projection leaves them.
    states = torch.randn(2, 6, heads, head_size, generator=generator).bfloat16().to(DEVICE).transpose(1, 2)
    cos, sin = (torch.randn(cos_batch, 6, head_size, generator=generator).bfloat16().to(DEVICE) for _ in range(2))
    found = rotate(states, cos, sin)
    exact, (cos, sin) = states.double(), (each.double()[:, None] for each in (cos, sin))
    first, second = exact.chunk(2, dim=-1)
    expected = exact * cos + torch.cat((-second, first), dim=-1) * sin
    assert found.stride() == states.stride()
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)


def test_on_the_cpu_nothing_changes():
    model = make_model("olmoe").cpu()
    before = model(TOKENS).logits
    with fast_forward(model):
        assert not any("forward" in vars(module) for module in model.modules())
        assert model.config._experts_implementation == "grouped_mm"
        assert torch.equal(model(TOKENS).logits, before)


def test_leaving_restores_everything():
    from transformers.models.olmoe import modeling_olmoe

    model, apply = make_model("olmoe"), modeling_olmoe.apply_rotary_pos_emb
    with pytest.raises(KeyboardInterrupt), fast_forward(model), fused_norms(model), fused_rotary(model):
        raise KeyboardInterrupt
    assert modeling_olmoe.apply_rotary_pos_emb is apply
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.config._experts_implementation == "grouped_mm"


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe", "gpt_oss", "deepseek_v3", "mixtral", "nemotron_h"])
def test_laws_of_the_fast_forward(model_type):
    model = make_model(model_type).to("cuda", torch.bfloat16)
    layers, tokens = layers_of(model), TOKENS.cuda()
    kept = random_kept(layers, seed=1)
    with torch.no_grad():
        slow = model(tokens).logits.float()
        with fast_forward(model):
            assert all(runs_fused(experts) for layer in layers for experts in layer.blocks[0].experts)
            fast = model(tokens).logits.float()
            scorer = FitnessScorer(model, [{"input_ids": tokens, "labels": tokens}])
            assert scorer.score() == pytest.approx(1.0, abs=1e-5)
            with VirtualSlice(layers, kept):
                virtual, score = model(tokens).logits, scorer.score()
            assert 0 < score < 1
        # A near tie in a router may fall the other way for some tokens.
        error = (fast - slow).norm(dim=-1) / slow.norm(dim=-1)
        assert error.median().item() < 0.03 and error.quantile(0.9).item() < 0.3
        remove_experts(model, layers, structure_of(model), kept)
        with fast_forward(model):
            assert torch.equal(model(tokens).logits, virtual)


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "gpt_oss", "deepseek_v3", "nemotron_h"])
def test_fused_statistics_are_those_of_the_hooks(model_type):
    model = make_model(model_type).to("cuda", torch.bfloat16)
    layers = layers_of(model)
    mask = torch.ones_like(TOKENS)
    mask[1, 20:] = 0
    batches = [{"input_ids": TOKENS.cuda(), "attention_mask": mask.cuda()}]
    expected = observe_experts(model, layers, batches, progress=False)
    with fast_forward(model):
        found = observe_experts(model, layers, batches, progress=False)
        again = observe_experts(model, layers, batches, progress=False)
    for index, sums in expected.layers.items():
        other = found.layers[index]
        assert (sums.routed_tokens - other.routed_tokens).abs().sum() <= 4  # near ties may fall the other way
        same = sums.routed_tokens == other.routed_tokens
        for name in ("norm_sum", "weight_sum", "weighted_norm_sum"):
            mine, theirs = getattr(other, name), getattr(sums, name)
            torch.testing.assert_close(mine[same], theirs[same], rtol=0.1, atol=0.1)
            torch.testing.assert_close(mine.sum(), theirs.sum(), rtol=0.03, atol=0.1)
        assert torch.equal(again.layers[index].weighted_norm_sum, other.weighted_norm_sum)


@ON_GPU
def test_the_device_is_waited_for_once_a_score(recwarn):
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    layers, tokens = layers_of(model), TOKENS.cuda()
    with fast_forward(model), VirtualSlice(layers, random_kept(layers, seed=1)):
        scorer = FitnessScorer(model, [{"input_ids": part, "labels": part} for part in tokens.split(1)])
        scorer.score()
        recwarn.clear()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            scorer.score()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [warning for warning in recwarn if "synchronizing" in str(warning.message)]
    assert len(waits) == 1, [str(warning.message) for warning in waits]
