# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tiny random models, pruned non-uniformly, of sizes that vLLM's kernels for CPUs take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.models.surgery import remove_experts

from ..model_matrix import layers_of, make_model, random_kept, random_tokens, structure_of, uniformly_kept
from ..model_matrix.rows import ROWS, add_row


# Of different lengths, to go through vLLM at once.
PROMPTS = [random_tokens(1, length, length)[0].tolist() for length in (40, 7, 19, 33)]
_EXAMPLE = Path(__file__).parents[2] / "examples" / "tiny_moe"


_SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "head_dim": 32,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    # Large enough for the experts to matter, small enough for float32 to tell the same in another order of sums.
    "initializer_range": 0.1,
    "eos_token_id": None,
}
_UNGROUPED: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 64}
_QWEN: dict[str, Any] = _UNGROUPED | {"num_experts": 8, "shared_expert_intermediate_size": 64}
_GROUPED: dict[str, Any] = _UNGROUPED | {
    "n_routed_experts": 12,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "num_experts_per_tok": 3,
    "n_group": 3,
    "topk_group": 2,
}
_YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 8,
}
# The sizes of the latent state are the only ones that vLLM's kernel for CPUs has.
_MLA: dict[str, Any] = {
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "head_dim": 64,
    "rope_parameters": _YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
}
_LINEAR: dict[str, Any] = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}

# Model types of transformers, each with the options of its config.
SERVED: dict[str, dict[str, Any]] = {
    "olmoe": {"num_experts": 8, "num_experts_per_tok": 2},
    "qwen2_moe": _QWEN | {"mlp_only_layers": [1]},
    "qwen3_moe": _UNGROUPED | {"num_experts": 8, "norm_topk_prob": True, "mlp_only_layers": [1]},
    # Linear attention has a kernel for CPUs in bfloat16 only, too coarse to compare tokens; hence both.
    "qwen3_next": _QWEN | _LINEAR | {"layer_types": ["full_attention"] * 4},
    "qwen3_next_hybrid": _QWEN | _LINEAR | {"layer_types": ["linear_attention"] * 3 + ["full_attention"]},
    "ernie4_5_moe": {
        "moe_num_experts": 8,
        "moe_k": 2,
        "moe_intermediate_size": 64,
        "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1,
        "moe_layer_end_index": 3,
    },
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "deepseek_v2": _GROUPED | _MLA | {"topk_method": "group_limited_greedy"},
    # Neither is an attribute of transformers' config, but every checkpoint has them and vLLM reads them.
    "deepseek_v3": _GROUPED | _MLA | {"topk_method": "noaux_tc", "scoring_func": "sigmoid"},
    "glm4_moe": _GROUPED | {"use_qk_norm": True},
    "gpt_oss": {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": 16,
        "rope_parameters": _YARN | {"truncate": False},
    },
}
# What vLLM needs to run some of them on a CPU.
_OPTIONS: dict[str, dict[str, Any]] = {
    "qwen3_next_hybrid": {"dtype": "bfloat16"},
    "deepseek_v2": {"attention_config": {"backend": "CPU_MLA"}},
    "deepseek_v3": {"attention_config": {"backend": "CPU_MLA"}},
}


@dataclass(frozen=True)
class Served:
    """A checkpoint and what transformers makes of it.

    Attributes:
        folder: Where it is.
        tokens: Greedy tokens of each prompt.
        logprobs: For each prompt, the log-probability of each of its tokens but the first and of each generated one.
        options: Options that vLLM needs to run it on this machine.
    """

    folder: Path
    tokens: list[list[int]]
    logprobs: list[list[float]]
    options: dict[str, Any] = field(default_factory=dict)


def make_served(name: str, folder: Path, length: int) -> Served:
    """Prune a tiny random model non-uniformly, save it, and let it generate.

    Args:
        name: One of `SERVED`; with `_uniform` at its end, the same number of experts goes from each layer.
        folder: For the checkpoint.
        length: How many tokens to generate.
    """
    name, is_uniform, _ = name.partition("_uniform")
    model = _make_random(name)
    layers = layers_of(model)
    kept = {each.index: uniformly_kept(each, 6) for each in layers} if is_uniform else random_kept(layers, 1)
    assert bool(is_uniform) == (len({len(experts) for experts in kept.values()}) == 1)
    remove_experts(model, layers, structure_of(model), kept)
    model.save_pretrained(folder)
    return Served(folder, *_generate(model, length), options=_OPTIONS.get(name, {}))


def make_tiny_moe(name: str, folder: Path, length: int) -> Served:
    """Prune the trained example through the public API."""
    config = EvoESAPConfig(
        allocation=[2, 9, 5, 12, 7, 4, 10, 3],
        criterion="frequency",
        calibration_dataset=str(_EXAMPLE / "data" / "calibration.jsonl"),
        calibration_samples=16,
        sequence_length=256,
    )
    pruner = MoEPruner.from_pretrained(_EXAMPLE / "checkpoint", config, dtype=torch.float32)
    return Served(folder, *_generate(pruner.prune(save_directory=folder), length))


def _make_random(name: str) -> PreTrainedModel:
    row = ROWS[name.removesuffix("_hybrid")]
    add_row(f"served_{name}", row.model_class, type(row.make_config()).__name__, **(_SIZES | SERVED[name]))
    model = make_model(f"served_{name}", dtype=getattr(torch, _OPTIONS.get(name, {}).get("dtype", "float32")))
    if name == "ernie4_5_moe":
        # Where experts are chosen by softmax, vLLM 0.32 ignores the selection bias on CPUs; pruned or not.
        for part_name, part in model.named_parameters():
            if part_name.endswith("e_score_correction_bias"):
                part.data.zero_()
    return model


@torch.no_grad()
def _generate(model: PreTrainedModel, length: int) -> tuple[list[list[int]], list[list[float]]]:
    tokens, logprobs = [], []
    for prompt in PROMPTS:
        options = {"max_new_tokens": length, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        answer = model.generate(torch.tensor([prompt]), **options)
        tokens.append(answer[0, len(prompt) :].tolist())
        found = model(answer).logits[0, :-1].float().log_softmax(-1)
        logprobs.append(found.gather(-1, answer[0, 1:, None])[:, 0].tolist())
    return tokens, logprobs


def largest_difference(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    """The largest absolute difference between the numbers of lists of lists of equal length."""
    return max(abs(a - b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True))
