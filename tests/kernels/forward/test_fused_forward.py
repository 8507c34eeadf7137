# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The laws of the whole fast forward on a GPU."""

from __future__ import annotations

import warnings

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.kernels.experts import fused_experts as experts
from optimum_evoesap.kernels.experts.fused_experts import runs_fused
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.kernels.machine import ON_GPU
from tests.model_matrix import VOCABULARY, layers_of, make_model, random_kept, sparse_model_of, structure_of


TOKENS = torch.randint(3, VOCABULARY - 6, (2, 24), generator=torch.Generator().manual_seed(0))


def test_on_the_cpu_nothing_changes():
    model = make_model("olmoe").cpu()
    before = model(TOKENS).logits
    with fused_forward(model):
        assert not any("forward" in vars(module) for module in model.modules())
        assert model.config._experts_implementation == "grouped_mm"
        assert torch.equal(model(TOKENS).logits, before)


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe", "gpt_oss", "deepseek_v3", "mixtral", "nemotron_h"])
def test_laws_of_the_fast_forward(model_type):
    model = make_model(model_type).to("cuda", torch.bfloat16)
    layers, tokens = layers_of(model), TOKENS.cuda()
    kept = random_kept(layers, seed=1)
    with torch.no_grad():
        slow = model(tokens).logits.float()
        with fused_forward(model):
            assert all(runs_fused(module) for layer in layers for module in layer.blocks[0].experts)
            fast = model(tokens).logits.float()
            scorer = FitnessScorer(model, [{"input_ids": tokens, "labels": tokens}])
            assert scorer.score().mean == pytest.approx(1.0, abs=1e-5)
            with VirtualSlice(layers, kept):
                virtual, score = model(tokens).logits, scorer.score().mean
            assert 0 < score < 1
        # A near tie in a router may fall the other way for some tokens.
        error = (fast - slow).norm(dim=-1) / slow.norm(dim=-1)
        assert error.median().item() < 0.1
        remove_experts(model, layers, structure_of(model), kept)
        with fused_forward(model):
            assert torch.equal(model(tokens).logits, virtual)


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "gpt_oss", "deepseek_v3", "nemotron_h"])
def test_fused_statistics_are_those_of_the_hooks(model_type):
    model = make_model(model_type).to("cuda", torch.bfloat16)
    mask = torch.ones_like(TOKENS)
    mask[1, 20:] = 0
    batches = [{"input_ids": TOKENS.cuda(), "attention_mask": mask.cuda()}]
    expected = observe_experts(sparse_model_of(model), batches, progress=False)
    with fused_forward(model):
        found = observe_experts(sparse_model_of(model), batches, progress=False)
        again = observe_experts(sparse_model_of(model), batches, progress=False)
    for index, sums in expected.layers.items():
        other = found.layers[index]
        # Near ties of the router may fall the other way, and a tiny model in half precision has many.
        assert (sums.routed_tokens - other.routed_tokens).abs().sum() <= 0.1 * sums.routed_tokens.sum()
        same = sums.routed_tokens == other.routed_tokens
        for name in ("norm_sum", "weight_sum", "weighted_norm_sum"):
            mine, theirs = getattr(other, name), getattr(sums, name)
            torch.testing.assert_close(mine[same], theirs[same], rtol=0.1, atol=0.1)
            torch.testing.assert_close(mine.sum(), theirs.sum(), rtol=0.03, atol=0.1)
        assert torch.equal(again.layers[index].weighted_norm_sum, other.weighted_norm_sum)


@ON_GPU
def test_no_layer_waits_for_the_device():
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    layers, tokens = layers_of(model), TOKENS.cuda()
    with fused_forward(model), VirtualSlice(layers, random_kept(layers, seed=1)):
        scorer = FitnessScorer(model, [{"input_ids": part, "labels": part} for part in tokens.split(1)])
        scorer.score()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scorer.score()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{each.filename}:{each.lineno}" for each in caught if "called a synchronizing" in str(each.message)]
    # One of ours, and one of transformers' in each of the two batches, which asks whether they hold documents.
    assert len(waits) <= 3, waits


@ON_GPU
def test_pruning_is_fast_and_gives_the_model_back(monkeypatch):
    """The stages run fused; the pruned model runs as it did, with hooks and functions of its own."""
    from transformers.models.olmoe import modeling_olmoe

    calls, apply = [], modeling_olmoe.apply_rotary_pos_emb
    fused = experts.fused_experts
    monkeypatch.setattr(experts, "fused_experts", lambda *a, **k: calls.append(stage) or fused(*a, **k))
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    options = {"sequence_length": 24, "population_size": 4, "num_elites": 1, "generations": 2, "search_samples": 4}
    pruner = MoEPruner(model, EvoESAPConfig(sparsity=0.25, calibration_samples=4, **options))
    data = [{"input_ids": row} for row in TOKENS.repeat(4, 1)]
    stage = "calibrate"
    pruner.calibrate(data)
    pruner.rank()
    stage = "search"
    pruner.search(data)
    assert {"calibrate", "search"} == set(calls)
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.config._experts_implementation == "grouped_mm"
    assert modeling_olmoe.apply_rotary_pos_emb is apply
    assert "sdpa" not in ALL_ATTENTION_FUNCTIONS._local_mapping


@ON_GPU
@pytest.mark.parametrize("implementation", ["eager", "batched_mm"])
def test_experts_that_the_user_chose_stay(implementation):
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    model.set_experts_implementation(implementation)
    with fused_forward(model):
        assert model.config._experts_implementation == implementation


@ON_GPU
def test_leaving_by_an_exception_restores_everything():
    from transformers.models.olmoe import modeling_olmoe

    model, apply = make_model("olmoe").to("cuda", torch.bfloat16), modeling_olmoe.apply_rotary_pos_emb
    with pytest.raises(KeyboardInterrupt), fused_forward(model):
        assert any("forward" in vars(module) for module in model.modules())
        assert modeling_olmoe.apply_rotary_pos_emb is not apply
        raise KeyboardInterrupt
    assert modeling_olmoe.apply_rotary_pos_emb is apply
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.config._experts_implementation == "grouped_mm"


@ON_GPU
def test_gradients_of_the_fused_experts_fall_back():
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    model.set_experts_implementation("evoesap")
    model(TOKENS.cuda()).logits.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
