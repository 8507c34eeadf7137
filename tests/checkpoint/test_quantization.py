# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Quantize a non-uniform checkpoint with torchao and bitsandbytes while it loads."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TorchAoConfig

from optimum_evoesap import esap
from tests.model_matrix import random_tokens

from .checkpoints import logits, save_pruned


# `make test` installs both.
pytest.importorskip("bitsandbytes")
pytest.importorskip("torchao")

from torchao.quantization import Float8WeightOnlyConfig, FqnToConfig, Int8WeightOnlyConfig  # noqa: E402


TOKENS = random_tokens(2, 24)
EXPERTS = r"re:.*\.experts\.(gate_up_proj|down_proj)"
LINEAR = r"re:.*self_attn\.[qkvo]_proj\.weight"


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """The folder of the bundled model, pruned, its logits, and the experts of each layer."""
    folder = tmp_path_factory.mktemp("quantization") / "tiny_moe"
    model = save_pruned(folder, "tiny_moe")
    counts = [len(layer.mlp.experts.gate_up_proj) for layer in model.model.layers]
    assert len(set(counts)) > 1
    return folder, logits(model, TOKENS), counts


def load(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)


def kinds(model, name):
    """The classes of the weights whose names end so."""
    return {type(value).__name__ for each, value in model.named_parameters() if each.endswith(name)}


def check(model, pruned):
    _, whole, counts = pruned
    assert [layer.mlp.experts.gate_up_proj.shape[0] for layer in model.model.layers] == counts
    answer = logits(model, TOKENS)
    assert not torch.equal(answer, whole), "it must be quantized"
    assert esap(whole, answer.float()) > 0.9
    return answer


def test_torchao_quantizes_linear_layers_alone_by_default(pruned, tmp_path):
    model = load(pruned[0], quantization_config=TorchAoConfig(Int8WeightOnlyConfig(version=2)))
    assert kinds(model, "q_proj.weight") == {"Int8Tensor"} and kinds(model, "gate_up_proj") == {"Parameter"}
    answer = check(model, pruned)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path), TOKENS), answer)


@pytest.mark.parametrize(
    "config,kind,implementation",
    [
        # torchao 0.18 has no int8 for the products in one that "grouped_mm" and "batched_mm" make.
        (Int8WeightOnlyConfig(version=2), "Int8Tensor", "eager"),
        (Float8WeightOnlyConfig(), "Float8Tensor", "grouped_mm"),
    ],
)
def test_torchao_quantizes_experts_by_name(config, kind, implementation, pruned, tmp_path):
    by_name = TorchAoConfig(FqnToConfig({EXPERTS: config, LINEAR: Int8WeightOnlyConfig(version=2)}))
    model = load(pruned[0], quantization_config=by_name, experts_implementation=implementation)
    assert kinds(model, "q_proj.weight") == {"Int8Tensor"}
    assert kinds(model, "gate_up_proj") == kinds(model, "down_proj") == {kind}
    answer = check(model, pruned)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path, experts_implementation=implementation), TOKENS), answer)


def test_bitsandbytes_quantizes_linear_layers_to_8_bits(pruned, tmp_path):
    model = load(pruned[0], quantization_config=BitsAndBytesConfig(load_in_8bit=True))
    # Routed experts are parameters in three dimensions, which it passes over.
    assert kinds(model, "q_proj.weight") == {"Int8Params"} and kinds(model, "gate_up_proj") == {"Parameter"}
    answer = check(model, pruned)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path), TOKENS), answer)


def test_bitsandbytes_quantizes_linear_layers_to_4_bits(pruned):
    _, whole, _ = pruned
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    # The bundled model is small: four bits cost it more than a large one.
    model = load(pruned[0], quantization_config=config)
    assert kinds(model, "q_proj.weight") == {"Params4bit"} and kinds(model, "gate_up_proj") == {"Parameter"}
    assert 0.5 < esap(whole, logits(model, TOKENS).float()) < 0.9


def test_lora_trains_a_quantized_model(pruned):
    model = load(pruned[0], quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"))
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], target_parameters=["mlp.experts.gate_up_proj"])
    adapted = get_peft_model(prepare_model_for_kbit_training(model), config).train()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3)
    losses = []
    for _ in range(4):
        loss = adapted(input_ids=TOKENS, labels=TOKENS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad.any() for parameter in trained)
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
