# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""LoRA with PEFT on a non-uniform checkpoint: train, save, load, merge, and prune what was merged."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import layers_of, random_tokens

from .checkpoints import logits, save_pruned


TOKENS = random_tokens(2, 24)
ATTENTION = {"target_modules": ["q_proj", "v_proj"]}
EXPERTS = {
    "target_modules": ["q_proj"],
    "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
}
ROUTER = {"target_modules": [], "target_parameters": ["mlp.gate.weight"]}


@pytest.fixture(scope="module", params=["tiny_moe", "qwen3_moe"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuning") / request.param
    save_pruned(folder, request.param)
    return folder


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def train(model, steps=4):
    """Train a few steps on one batch; return the losses."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3)
    losses = []
    for _ in range(steps):
        loss = model(input_ids=TOKENS, labels=TOKENS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad.any() for parameter in trained), "every adapter is trained"
    return losses


@pytest.mark.parametrize("targets", [ATTENTION, EXPERTS, ROUTER], ids=["attention", "experts", "router"])
def test_lora(targets, folder, tmp_path):
    model = load(folder)
    before = logits(model, TOKENS)
    counts = {layer.index: layer.num_experts for layer in layers_of(model)}
    assert len(set(counts.values())) > 1
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **targets))
    losses = train(adapted.train())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    trained = logits(adapted.eval(), TOKENS)
    assert not torch.allclose(trained, before, atol=1e-2)

    adapted.save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(load(folder), tmp_path / "adapter")
    assert torch.equal(logits(loaded, TOKENS), trained)

    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged, TOKENS), trained, atol=1e-3, rtol=1e-3)
    merged.save_pretrained(tmp_path / "merged")
    assert torch.equal(logits(load(tmp_path / "merged"), TOKENS), logits(merged, TOKENS))
    assert {layer.index: layer.num_experts for layer in layers_of(merged)} == counts


def test_prune_a_merged_model_again(folder, tmp_path):
    adapted = get_peft_model(load(folder), LoraConfig(r=4, init_lora_weights=False, **EXPERTS))
    merged = adapted.merge_and_unload().eval()
    removable = [layer.num_experts - layer.min_kept for layer in layers_of(merged)]
    allocation = [min(1, each) for each in removable]
    config = EvoESAPConfig(sparsity=None, allocation=allocation, sequence_length=24)
    pruner = MoEPruner(merged, config)
    before = [layer.num_experts for layer in pruner.layers]
    pruner.prune(tmp_path / "again", [{"input_ids": each} for each in TOKENS])
    assert [layer.num_experts for layer in pruner.layers] == [b - gone for b, gone in zip(before, allocation)]
    assert torch.equal(logits(load(tmp_path / "again"), TOKENS), logits(merged, TOKENS))
