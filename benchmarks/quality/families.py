# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The small models of the study: one row a family, each with what is its own about routing."""

from __future__ import annotations

import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    OlmoeConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3MoeConfig,
)


HIDDEN_SIZE, HEADS, INITIAL_SPREAD = 128, 4, 0.05
BALANCE_WEIGHT = 0.01

# Softmax over 16 experts, two chosen, their weights as they are: the bundled model's sizes.
OLMOE = {
    "num_hidden_layers": 8,
    "intermediate_size": 64,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "router_aux_loss_coef": BALANCE_WEIGHT,
}
# Softmax over 32 experts, four chosen, their weights brought to a sum of one.
QWEN3_MOE = {
    "num_hidden_layers": 8,
    "intermediate_size": 128,
    "moe_intermediate_size": 48,
    "num_experts": 32,
    "num_experts_per_tok": 4,
    "norm_topk_prob": True,
    "num_key_value_heads": 2,
    "head_dim": 48,
    "router_aux_loss_coef": BALANCE_WEIGHT,
}
# Sigmoid with a bias on the selection, three of 24 chosen beside a shared expert, after a dense first layer.
DEEPSEEK_V3 = {
    "num_hidden_layers": 8,
    "intermediate_size": 256,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 48,
    "n_routed_experts": 24,
    "num_experts_per_tok": 3,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": HEADS,
    "q_lora_rank": None,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "num_nextn_predict_layers": 0,
}
FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict]] = {
    "olmoe": (OlmoeConfig, OLMOE),
    "qwen3_moe": (Qwen3MoeConfig, QWEN3_MOE),
    "deepseek_v3": (DeepseekV3Config, DEEPSEEK_V3),
}


def build(family: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model of a family with random weights in float32.

    Args:
        family: A key of `FAMILIES`.
        tokenizer: The tokenizer it is to be trained with.

    Returns:
        The model.
    """
    config_class, sizes = FAMILIES[family]
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        num_attention_heads=HEADS,
        initializer_range=INITIAL_SPREAD,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
