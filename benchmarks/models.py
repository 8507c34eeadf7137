# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Models of true size with random weights, made on the GPU, and windows of random tokens for them."""

from __future__ import annotations

import argparse

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel


# The sizes of allenai/OLMoE-1B-7B-0125-Instruct and Qwen/Qwen3-30B-A3B-Instruct-2507.
SIZES: dict[str, dict[str, object]] = {
    "olmoe": {
        "hidden_size": 2048, "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 16,
        "num_key_value_heads": 16, "num_experts": 64, "num_experts_per_tok": 8, "vocab_size": 50304,
        "max_position_embeddings": 4096,
    },
    "qwen3_moe": {
        "hidden_size": 2048, "moe_intermediate_size": 768, "intermediate_size": 6144, "num_hidden_layers": 48,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
        "num_experts_per_tok": 8, "norm_topk_prob": True, "vocab_size": 151936, "max_position_embeddings": 262144,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "tie_word_embeddings": False,
    },
}  # fmt: skip
WINDOW = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", choices=SIZES, default=["olmoe"])
    parser.add_argument("--windows", type=int, default=16, help="windows of 4096 tokens")
    parser.add_argument("--layers", type=int, help="fewer decoder layers than the model has")


def make_config(model_type: str, num_layers: int | None = None) -> PretrainedConfig:
    sizes = SIZES[model_type] | ({"num_hidden_layers": num_layers} if num_layers else {})
    return AutoConfig.for_model(model_type, **sizes)


def make_model(model_type: str, num_layers: int | None = None) -> PreTrainedModel:
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(make_config(model_type, num_layers), dtype=torch.bfloat16)
    return model.eval()


def make_windows(
    model: PreTrainedModel, windows: int, at_once: int, document: int = WINDOW
) -> list[dict[str, torch.Tensor]]:
    """Batches of windows of which every token is scored, filled with documents of so many tokens."""
    generator = torch.Generator("cuda").manual_seed(0)
    tokens = torch.randint(model.config.vocab_size, (windows, WINDOW), generator=generator, device="cuda")
    batches = [{"input_ids": part, "labels": part.clone()} for part in tokens.split(at_once)]
    if document < WINDOW:
        for batch in batches:
            positions = torch.arange(WINDOW, device="cuda") % document
            batch["position_ids"] = positions.expand_as(batch["input_ids"]).contiguous()
    return batches


def arithmetic_seconds(config: PretrainedConfig, rate: float) -> float:
    """Seconds that the products of one window take at `rate` operations a second: trunk, and the head twice.

    Twice, since the logits of the teacher are made again.
    """
    hidden, head_size = config.hidden_size, getattr(config, "head_dim", None)
    head_size = head_size or hidden // config.num_attention_heads
    queries, keys = config.num_attention_heads * head_size, config.num_key_value_heads * head_size
    width = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    weights = hidden * (2 * queries + 2 * keys + config.num_experts)
    weights += config.num_experts_per_tok * 3 * hidden * width
    # Half of the positions are before a token on average.
    attention = 2 * 2 * queries * WINDOW / 2
    per_token = config.num_hidden_layers * (2 * weights + attention) + 2 * 2 * hidden * config.vocab_size
    return per_token * WINDOW / rate
