# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The model matrix: one tiny config a supported architecture. Every law is tested over every row.

A new architecture is one more row. Routers, biases and selection biases get N(0, 1) values: with zeros, as the models
are born, several wrong masks pass.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from optimum_evoesap.adapters import MoELayer, find_moe_layers


VOCABULARY = 96
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    # Large enough for experts to matter: at the default of 0.02 every pruned model looks like its teacher.
    "initializer_range": 0.4,
}
_ROWS: dict[str, Callable[[], PretrainedConfig]] = {}


def _row(model_type: str, **options) -> None:
    from transformers import AutoConfig

    _ROWS[model_type] = lambda: AutoConfig.for_model(model_type, **(_COMMON | options))


_row("olmoe", num_experts=8, num_experts_per_tok=2)
_row(
    "qwen3_moe",
    num_experts=8,
    num_experts_per_tok=2,
    moe_intermediate_size=24,
    head_dim=8,
    mlp_only_layers=[1],
    norm_topk_prob=True,
)
_row(
    "ernie4_5_moe",
    moe_num_experts=8,
    moe_k=2,
    moe_intermediate_size=24,
    moe_num_shared_experts=2,
    moe_layer_start_index=1,
    moe_layer_end_index=2,
)
_row("mixtral", num_local_experts=8, num_experts_per_tok=2)
_row(
    "deepseek_v3",
    n_routed_experts=12,
    num_experts_per_tok=3,
    n_group=3,
    topk_group=2,
    moe_intermediate_size=24,
    n_shared_experts=1,
    first_k_dense_replace=1,
    num_key_value_heads=4,
    q_lora_rank=16,
    kv_lora_rank=16,
    qk_rope_head_dim=8,
    qk_nope_head_dim=8,
    v_head_dim=8,
)
_row(
    "gpt_oss",
    num_local_experts=8,
    num_experts_per_tok=2,
    head_dim=8,
    sliding_window=16,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)

MODEL_TYPES = tuple(_ROWS)


def make_config(model_type: str) -> PretrainedConfig:
    """The tiny config of one row."""
    return _ROWS[model_type]()


def make_model(model_type: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """A random model of one row, with random routers and biases."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(make_config(model_type), dtype=dtype).eval()
    with torch.no_grad():
        for layer in find_moe_layers(model):
            for tensor in layer.tensors:
                if tensor in layer.router_tensors or "bias" in tensor.name:
                    tensor.value.normal_()
    return model


def random_kept(layers: list[MoELayer], seed: int, extreme: bool = False) -> dict[int, list[int]]:
    """Kept experts drawn at random, a different number from each layer; the same number from each router group.

    With `extreme`, the fewest possible in the first sparse layer and all in the others.
    """
    generator = random.Random(seed)
    kept = {}
    for position, layer in enumerate(layers):
        size = layer.num_experts // layer.num_groups
        least = layer.min_kept // layer.num_groups
        number = generator.randint(least, size - 1)
        if extreme:
            number = least if position == 0 else size
        kept[layer.index] = sorted(
            group * size + expert
            for group in range(layer.num_groups)
            for expert in generator.sample(range(size), number)
        )
    return kept


def random_tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """Token ids without special ones, shape (batch, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)
