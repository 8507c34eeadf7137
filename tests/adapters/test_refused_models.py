# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Models that cannot be pruned, or not as they are: what they are told, and that the remedy works."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, FineGrainedFP8Config

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.adapters import find_moe_layers
from tests.model_matrix import make_model, random_tokens


def test_a_grid_of_experts_is_refused():
    config = AutoConfig.for_model(
        "doge",
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=64,
        num_experts_per_tok=2,
        is_moe=True,
    )
    with pytest.raises(ValueError, match="DogeForCausalLM.*not supported"):
        MoEPruner(AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize(
    "model_type,options",
    [
        ("switch_transformers", {"num_layers": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}),
        ("nllb-moe", {"encoder_layers": 2, "decoder_layers": 2, "encoder_sparse_step": 1, "decoder_sparse_step": 1}),
    ],
)
def test_encoder_decoder_models_are_refused(model_type, options):
    sizes = {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_heads": 4, "num_experts": 8}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = AutoConfig.for_model(model_type, **sizes, **heads, **options)
    with pytest.raises(ValueError, match="encoder and a decoder"):
        MoEPruner(AutoModelForSeq2SeqLM.from_config(config))


def test_a_dense_model_is_refused():
    config = AutoConfig.for_model("llama", vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=1)
    with pytest.raises(ValueError, match="no routed experts"):
        MoEPruner(AutoModelForCausalLM.from_config(config))


def test_peft_models_are_refused_until_they_are_merged():
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wrapped = get_peft_model(make_model("olmoe"), lora)
    with pytest.raises(ValueError, match="merge_and_unload"):
        MoEPruner(wrapped)
    with pytest.raises(ValueError, match="lora_A.*merge_and_unload"):
        MoEPruner(wrapped.base_model.model)
    merged = wrapped.merge_and_unload()
    with torch.no_grad():
        before = merged(torch.arange(3, 9)[None]).logits
    pruner = MoEPruner(merged, EvoESAPConfig(allocation=[1, 0, 2]))
    assert pruner.sparse_layers == [0, 1, 2]
    with torch.no_grad():
        assert torch.equal(before, pruner.model(torch.arange(3, 9)[None]).logits)


def test_a_quantized_checkpoint_is_pruned_once_it_is_dequantized(tmp_path):
    """The remedy that the error for quantized models names, on a checkpoint in the FP8 format of DeepSeek."""
    model, block = make_model("olmoe"), 8
    model.save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    tensors = {}
    for name, value in load_file(file).items():
        if name.endswith("_proj.weight"):
            blocks = value.unflatten(0, (-1, block)).unflatten(2, (-1, block))
            scale = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
            tensors[f"{name}_scale_inv"] = scale
            value = (blocks / scale[:, None, :, None]).reshape(value.shape).to(torch.float8_e4m3fn)
        tensors[name] = value
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [block, block]}
    (tmp_path / "config.json").write_text(json.dumps(config))

    quantization = FineGrainedFP8Config(dequantize=True, weight_block_size=(block, block))
    settings = EvoESAPConfig(allocation=[1, 0, 2], sequence_length=16, calibration_samples=6)
    pruner = MoEPruner.from_pretrained(tmp_path, settings, quantization_config=quantization)
    for mine, theirs in zip(find_moe_layers(model), pruner.layers):
        for one, other in zip(mine.blocks[0].expert_parts, theirs.blocks[0].expert_parts):
            torch.testing.assert_close(one.value, other.value, rtol=0.07, atol=0.01)

    tokens = random_tokens(8, 16)
    pruned = pruner.prune(tmp_path / "out", [{"input_ids": each} for each in tokens])
    again = type(pruned).from_pretrained(tmp_path / "out", dtype="auto")
    assert torch.equal(pruned(input_ids=tokens).logits, again(input_ids=tokens).logits)
