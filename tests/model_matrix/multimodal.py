# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rows of the architectures that take images, video or sound besides text, all with experts in their text model.

Special tokens are 0 to 2 and 90 to 95, so that random tokens from [3, 90) are text.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PretrainedConfig

from .rows import COMMON, add_row


# Eight experts, or twelve in three groups for routers that choose groups first.
FEW = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
GROUPED = {
    "n_routed_experts": 12,
    "num_experts_per_tok": 3,
    "n_group": 3,
    "topk_group": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 24,
}
# Attention through a compressed key and value.
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
# What chooses the positions to attend to. With few heads many positions score exactly 0; which of them are chosen then
# depends on the length of the text, and logits with and without a cache differ.
INDEXER = {"index_topk": 8, "index_head_dim": 8, "index_n_heads": 8}
DELTA_NET = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
DENSE_FIRST = ["dense", "sparse", "sparse"]

# A tower of one layer and, for images, patches of 4 x 4 pixels; under the names of most and of the Qwen family.
TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = TOWER | {"patch_size": 4, "image_size": 16}
QWEN_VISION = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "patch_size": 4,
    "out_hidden_size": 32,
}
QWEN_TOKENS = {"image_token_id": 90, "video_token_id": 91, "vision_start_token_id": 92, "vision_end_token_id": 93}
GLM_TOKENS = {
    "image_token_id": 90,
    "video_token_id": 91,
    "image_start_token_id": 92,
    "image_end_token_id": 93,
    "video_start_token_id": 94,
    "video_end_token_id": 95,
}
GEMMA_TEXT = {
    "num_experts": 8,
    "top_k_experts": 2,
    "moe_intermediate_size": 24,
    "head_dim": 8,
    "global_head_dim": 16,
    "num_global_key_value_heads": 1,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "final_logit_softcapping": 30.0,
}
GEMMA_VISION = TOWER | {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "patch_size": 4,
    "pooling_kernel_size": 2,
    "position_embedding_size": 16,
}


def mrope(*sections: int, **options: object) -> dict[str, object]:
    """Rotary positions in time, height and width."""
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(sections)} | options


add_row(
    "gemma4",
    "Gemma4ForConditionalGeneration",
    "Gemma4Config",
    ("google/gemma-4-26B-A4B-it",),
    common=False,
    text_config=COMMON
    | GEMMA_TEXT
    | {
        "enable_moe_block": True,
        "attention_k_eq_v": True,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 96,
    },
    vision_config=GEMMA_VISION,
    image_token_id=90,
    video_token_id=91,
    audio_token_id=92,
    boi_token_id=93,
    eoi_token_id=94,
    boa_token_id=95,
    eoa_token_index=95,
)
add_row(
    "llama4",
    "Llama4ForConditionalGeneration",
    "Llama4Config",
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "meta-llama/Llama-4-Maverick-17B-128E-Instruct"),
    common=False,
    text_config=COMMON
    | {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "moe_layers": [0, 2],
        "no_rope_layers": [1, 1, 0],
        "attention_chunk_size": 16,
        "intermediate_size_mlp": 24,
        "head_dim": 8,
    },
    vision_config=VISION
    | {"intermediate_size": 64, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
    image_token_index=90,
    boi_token_index=91,
    eoi_token_index=92,
)
add_row(
    "qwen3_vl_moe",
    "Qwen3VLMoeForConditionalGeneration",
    "Qwen3VLMoeConfig",
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", "Qwen/Qwen3-VL-235B-A22B-Instruct"),
    common=False,
    text_config=COMMON
    | FEW
    | {"head_dim": 8, "mlp_only_layers": [1], "rope_parameters": mrope(2, 1, 1, mrope_interleaved=True)},
    vision_config=QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    **QWEN_TOKENS,
)
add_row(
    "qwen3_omni_moe_thinker",
    "Qwen3OmniMoeThinkerForConditionalGeneration",
    "Qwen3OmniMoeThinkerConfig",
    common=False,
    text_config=COMMON
    | FEW
    | {"head_dim": 8, "mlp_only_layers": [1], "rope_parameters": mrope(2, 1, 1, mrope_interleaved=True)},
    vision_config=QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    audio_config={
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "num_mel_bins": 16,
        "downsample_hidden_size": 4,
        "output_dim": 32,
    },
    audio_token_id=94,
    audio_start_token_id=95,
    initializer_range=0.4,
    **QWEN_TOKENS,
)
add_row(
    "qwen3_5_moe",
    "Qwen3_5MoeForConditionalGeneration",
    "Qwen3_5MoeConfig",
    ("Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.5-397B-A17B"),
    common=False,
    text_config=COMMON
    | FEW
    | DELTA_NET
    | {
        "shared_expert_intermediate_size": 24,
        "head_dim": 16,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "rope_parameters": mrope(2, 1, 1, mrope_interleaved=True, partial_rotary_factor=0.5),
    },
    vision_config=QWEN_VISION | {"num_position_embeddings": 16},
    **QWEN_TOKENS,
)
add_row(
    "qwen4_exp",
    "Qwen4ExpForConditionalGeneration",
    "Qwen4ExpConfig",
    ("Qwen/Qwen4-Exp",),
    common=False,
    text_config=COMMON
    | FEW
    | DELTA_NET
    | {
        "shared_expert_intermediate_size": 24,
        "head_dim": 16,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "rope_parameters": mrope(2, 1, 1, mrope_interleaved=True, partial_rotary_factor=0.5),
        "hc_count": 2,
        "hc_lowrank": 8,
        "ple_layer_ids": [1],
        "heads_per_ngram": 2,
        "ngram_vocab_size_base": 50,
        "make_ngram_vocab_size_divisible_by": 8,
        "split_ngram_parts": 2,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    vision_config=QWEN_VISION | {"num_position_embeddings": 16},
    **QWEN_TOKENS,
)
add_row(
    "glm4v_moe",
    "Glm4vMoeForConditionalGeneration",
    "Glm4vMoeConfig",
    ("zai-org/GLM-4.5V", "zai-org/GLM-4.6V"),
    common=False,
    text_config=COMMON
    | GROUPED
    | {"head_dim": 16, "first_k_dense_replace": 1, "rope_parameters": mrope(2, 1, 1, partial_rotary_factor=0.5)},
    vision_config=QWEN_VISION | {"image_size": 16},
    **GLM_TOKENS,
)
add_row(
    "glm5_next",
    "Glm5NextForConditionalGeneration",
    "Glm5NextConfig",
    ("zai-org/GLM-5.3-Flash",),
    common=False,
    text_config=COMMON
    | GROUPED
    | LATENT
    | INDEXER
    | {
        "qk_rope_head_dim": 0,
        "index_kpool": 4,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "mlp_layer_types": DENSE_FIRST,
        "linear_head_dim": 8,
        "linear_num_heads": 4,
        "hc_mult": 2,
    },
    vision_config=QWEN_VISION | {"image_size": 16, "projection_intermediate_size": 16},
    **GLM_TOKENS,
)
add_row(
    "ernie4_5_vl_moe",
    "Ernie4_5_VLMoeForConditionalGeneration",
    "Ernie4_5_VLMoeConfig",
    ("baidu/ERNIE-4.5-VL-28B-A3B-PT", "baidu/ERNIE-4.5-VL-424B-A47B-PT"),
    common=False,
    text_config=COMMON
    | {
        "moe_num_experts": 8,
        "moe_k": 2,
        "moe_intermediate_size": [24, 16],
        "moe_num_shared_experts": 2,
        "mlp_layer_types": DENSE_FIRST,
        "rope_parameters": mrope(1, 1, 2),
    },
    vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 4},
    **GLM_TOKENS,
)
add_row(
    "aria",
    "AriaForConditionalGeneration",
    "AriaConfig",
    ("rhymes-ai/Aria",),
    since="5.19",  # before, the experts were called with router logits
    common=False,
    text_config=COMMON | {"model_type": "aria_text", "moe_num_experts": 8, "moe_topk": 2, "moe_num_shared_experts": 2},
    vision_config=VISION | {"model_type": "idefics3_vision"},
    projector_patch_to_query_dict={16: 4},
    initializer_range=0.4,
    image_token_index=90,
)
SAM = {
    "hidden_size": 16,
    "output_channels": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 64,
    "mlp_dim": 16,
    "window_size": 2,
    "global_attn_indexes": [0],
    "downsample_channels": [8, 16],
    # At its default of 1e-10 the picture changes nothing.
    "initializer_range": 0.4,
}
add_row(
    "deepseek_ocr2",
    "DeepseekOcr2ForConditionalGeneration",
    "DeepseekOcr2Config",
    ("deepseek-community/DeepSeek-OCR-2",),
    common=False,
    text_config=COMMON | GROUPED | {"topk_method": "group_limited_greedy", "mlp_layer_types": DENSE_FIRST},
    vision_config={"sam_config": SAM, "encoder_config": TOWER | {"num_key_value_heads": 2, "vocab_size": 8}},
    image_token_id=90,
)
add_row(
    "unlimited_ocr",
    "UnlimitedOcrForConditionalGeneration",
    "UnlimitedOcrConfig",
    ("baidu/Unlimited-OCR",),
    since="5.23",
    common=False,
    text_config=COMMON
    | GROUPED
    | {"topk_method": "group_limited_greedy", "mlp_layer_types": DENSE_FIRST, "sliding_window": 16},
    vision_config={"sam_config": SAM, "encoder_config": TOWER | {"image_size": 4, "patch_size": 1}},
    image_token_id=90,
)
add_row(
    "minimax_m3_vl",
    "MiniMaxM3SparseForConditionalGeneration",
    "MiniMaxM3VLConfig",
    ("MiniMaxAI/MiniMax-M3",),
    common=False,
    text_config=COMMON
    | {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "head_dim": 8,
        "rotary_dim": 4,
        "dense_intermediate_size": 24,
        "shared_intermediate_size": 24,
        "mlp_layer_types": DENSE_FIRST,
        "layer_types": ["full_attention", "minimax_m3_sparse", "full_attention"],
        "index_n_heads": 2,
        "index_head_dim": 8,
        "index_block_size": 4,
        "index_topk_blocks": 2,
    },
    vision_config=VISION,
    projector_hidden_size=16,
    image_token_index=90,
    video_token_index=91,
)
add_row(
    "mistral_large4",
    "MistralLarge4ForConditionalGeneration",
    "MistralLarge4Config",
    since="5.23",
    common=False,
    text_config=COMMON
    | GROUPED
    | LATENT
    | INDEXER
    | {"mlp_layer_types": DENSE_FIRST, "no_rope_layers": [0, 1, 1], "kv_source_layers": [0, 1, 1]},
    vision_config=VISION | {"model_type": "pixtral"},
    image_token_index=90,
)
add_row(
    "muse_spark",
    "MuseSparkForConditionalGeneration",
    "MuseSparkConfig",
    since="5.23",
    common=False,
    text_config=COMMON
    | {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "moe_hidden_size": 24,
        "head_dim": 8,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "mlp_layer_types": DENSE_FIRST,
    },
    vision_config=TOWER | {"patch_size": 4, "pos_emb_height": 4, "pos_emb_width": 4, "max_position_embeddings": 16},
    audio_config={
        "patch_sizes": [4],
        "hidden_sizes": [16],
        "depths": [1],
        "num_hidden_layers": 1,
        "out_hidden_size": 32,
    },
    out_hidden_size=64,
    projector_hidden_size=16,
    image_token_id=90,
    video_token_id=91,
    audio_token_id=92,
)
add_row(
    "step3p7",
    "Step3p7ForConditionalGeneration",
    "Step3p7Config",
    ("stepfun-ai/Step-3.7-Flash",),
    common=False,
    text_config=COMMON
    | {
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "share_expert_dim": 24,
        "head_dim": 8,
        "sliding_window": 16,
        "num_sliding_attention_heads": 6,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "mlp_layer_types": DENSE_FIRST,
        "swiglu_limits": [None, 7.0, 0.0],
        "swiglu_limits_shared": [None, 7.0, 0.0],
    },
    vision_config=VISION | {"mlp_ratio": 1.0, "max_position_embeddings": 16},
    image_token_id=90,
)
INKLING_TEXT = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "head_dim": 8,
    "swa_num_attention_heads": 2,
    "swa_num_key_value_heads": 1,
    "swa_head_dim": 16,
    "sliding_window_size": 16,
    "d_rel": 4,
    "rel_extent": 32,
    "unpadded_vocab_size": 96,
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
}
add_row(
    "inkling_mm_model",
    "InklingForConditionalGeneration",
    "InklingConfig",
    ("thinkingmachines/Inkling",),
    common=False,
    text_config=COMMON
    | INKLING_TEXT
    | {"n_shared_experts": 2, "mlp_layer_types": DENSE_FIRST, "logits_mup_width_multiplier": 2.0},
    # As many layers as there are scales between a pixel and a patch; for fewer upstream needs scipy.
    vision_config={"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 2},
    audio_config={"n_mel_bins": 4, "mel_vocab_size": 8},
    image_token_id=90,
    audio_token_id=91,
    image_bos_token_id=92,
    audio_bos_token_id=93,
)
add_row(
    "inkling2",
    "Inkling2ForConditionalGeneration",
    "Inkling2Config",
    ("thinkingmachines/Inkling-2-Small-MXFP8",),
    since="5.23",
    common=False,
    text_config=COMMON | INKLING_TEXT | {"n_layers_per_attn_res_block": 2},
    vision_config=TOWER
    | {"patch_size": 4, "posemb_grid_size": 4, "projection_hidden_dim": 16, "text_hidden_size": 32},
    image_token_id=90,
)
add_row(
    "dots3_note",
    "Dots3NoteForConditionalGeneration",
    "Dots3NoteConfig",
    ("dots-studio/dots3-note-prev",),
    since="5.23",
    common=False,
    text_config=COMMON
    | GROUPED
    | LATENT
    | INDEXER
    | {
        "head_dim": 16,
        "shared_experts_intermediate_size": 24,
        "sliding_window": 16,
        "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention"],
        "mlp_layer_types": DENSE_FIRST,
        "swa_num_attention_heads": 2,
        "swa_num_key_value_heads": 2,
        "swa_q_lora_rank": 16,
        "swa_kv_lora_rank": 8,
        "swa_head_dim": 16,
        "swa_qk_nope_head_dim": 8,
        "swa_v_head_dim": 8,
    },
    # The encoder has experts too, and a different number of them in each layer.
    vision_config={
        "hidden_size": 16,
        "intermediate_size": 16,
        "moe_intermediate_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "patch_size": 4,
        "pyramid_num_routed": [-1, 4, 6],
        "adapter_in_dim": 16,
        "adapter_out_dim": 32,
    },
    audio_config=TOWER
    | {"feature_size": 16, "downsample_hidden_size": 4, "adapter_input_size": 16, "adapter_out_dim": 32},
    image_token_id=90,
    video_token_id=91,
    audio_token_id=92,
)
add_row(
    "diffusion_gemma",
    "DiffusionGemmaForBlockDiffusion",
    "DiffusionGemmaConfig",
    ("google/diffusiongemma-26B-A4B-it",),
    common=False,
    text_config=COMMON | GEMMA_TEXT,
    vision_config=GEMMA_VISION | {"model_type": "gemma4_vision"},
    canvas_length=8,
    initializer_range=0.4,
    image_token_id=90,
    boi_token_id=93,
    eoi_token_id=94,
)
add_row(
    "kimi_k25",
    "Kimi_K25ForConditionalGeneration",
    "Kimi_K25Config",
    ("moonshotai/Kimi-K2.6", "moonshotai/Kimi-K2.5"),
    common=False,
    text_config=COMMON | GROUPED | LATENT | {"model_type": "deepseek_v3", "first_k_dense_replace": 1},
    vision_config=TOWER | {"patch_size": 4, "pos_emb_height": 4, "pos_emb_width": 4, "pos_emb_time": 1},
    projection_hidden_size=16,
    **QWEN_TOKENS,
)
add_row(
    "nemotron_h_omni",
    "NemotronH_Omni_Reasoning_V3",
    "NemotronH_Omni_Reasoning_V3_Config",
    ("nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16",),
    since="5.19",
    common=False,
    text_config={name: value for name, value in COMMON.items() if name != "num_hidden_layers"}
    | GROUPED
    | {
        "model_type": "nemotron_h",
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp", "moe"],
        "head_dim": 8,
        "moe_shared_expert_intermediate_size": 24,
        "moe_latent_size": 16,
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "n_groups": 2,
        "ssm_state_size": 8,
        "chunk_size": 8,
    },
    vision_config={
        "model_type": "radio",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "mlp_ratio": 1.0,
        "patch_size": 4,
        "image_size": 16,
        "max_img_size": 16,
        "video_temporal_patch_size": 2,
    },
    force_image_size=16,
    vision_hidden_size=16,
    projector_hidden_size=16,
    image_token_id=90,
    video_token_id=91,
    audio_token_id=92,
)
add_row(
    "internvl (qwen3_moe)",
    "InternVLForConditionalGeneration",
    "InternVLConfig",
    ("OpenGVLab/InternVL3_5-30B-A3B-HF",),
    common=False,
    text_config=COMMON | FEW | {"model_type": "qwen3_moe", "head_dim": 8, "mlp_only_layers": [1]},
    vision_config=TOWER | {"patch_size": [4, 4], "image_size": [16, 16]},
    image_token_id=90,
)


def image_inputs(
    pixels: tuple[int, ...], places: int = 4, masks: tuple[str, ...] = (), **others: list
) -> Callable[[PretrainedConfig], dict[str, torch.Tensor]]:
    """Make inputs with an image.

    Args:
        pixels: Shape of the pixel values.
        places: How many tokens stand for the image.
        masks: Inputs that are 1 at these tokens and 0 elsewhere.
        others: Further inputs of integers.
    """

    def make(config: PretrainedConfig) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(3, 90, (1, places + 12), generator=generator)
        tokens[:, 4 : 4 + places] = config.image_token_id
        inputs = {"input_ids": tokens, "pixel_values": torch.rand(pixels, generator=generator)}
        inputs |= {name: (tokens == config.image_token_id).int() for name in masks}
        return inputs | {name: torch.tensor(value) for name, value in others.items()}

    return make


# A picture of 16 x 16 pixels: 4 x 4 patches, of which 2 x 2 make one token.
GRID = [[1, 4, 4]]
POSITIONS = [[[x, y] for y in range(4) for x in range(4)]]
QWEN_IMAGE = image_inputs((16, 96), masks=("mm_token_type_ids",), image_grid_thw=GRID)
IMAGE_INPUTS: dict[str, Callable[[PretrainedConfig], dict[str, torch.Tensor]]] = {
    "gemma4": image_inputs((1, 16, 48), masks=("mm_token_type_ids",), image_position_ids=POSITIONS),
    "llama4": image_inputs((1, 3, 16, 16)),
    "qwen3_vl_moe": QWEN_IMAGE,
    "qwen3_omni_moe_thinker": QWEN_IMAGE,
    "qwen3_5_moe": QWEN_IMAGE,
    "qwen4_exp": QWEN_IMAGE,
    "glm4v_moe": QWEN_IMAGE,
    "glm5_next": QWEN_IMAGE,
    "ernie4_5_vl_moe": image_inputs(
        (16, 48), masks=("mm_token_type_ids", "moe_mm_token_type_ids"), image_grid_thw=GRID
    ),
    "aria": image_inputs((1, 3, 16, 16)),
    "deepseek_ocr2": image_inputs((1, 3, 64, 64), places=145),
    "unlimited_ocr": image_inputs((1, 3, 64, 64), places=3),
    "minimax_m3_vl": image_inputs((16, 96), image_grid_thw=GRID),
    "mistral_large4": image_inputs((1, 3, 16, 16), image_sizes=[[16, 16]]),
    "muse_spark": image_inputs((16, 96), image_grid_thw=GRID),
    "step3p7": image_inputs((1, 3, 16, 16), places=1),
    "inkling_mm_model": image_inputs((4, 2, 2, 2, 3)),
    "inkling2": image_inputs((4, 8, 8, 3), image_grid_thw=[[1, 2, 2]]),
    "dots3_note": image_inputs((16, 48), image_grid_thw=GRID),
    # Without tokens to begin with the decoder draws some.
    "diffusion_gemma": image_inputs(
        (1, 16, 48),
        masks=("mm_token_type_ids",),
        image_position_ids=POSITIONS,
        decoder_input_ids=[[10, 20, 30, 40, 50, 60, 70, 80]],
    ),
    "kimi_k25": image_inputs((16, 3, 4, 4), image_grid_thw=GRID),
    "nemotron_h_omni": image_inputs((16, 48), image_grid_hw=[[4, 4]]),
    "internvl (qwen3_moe)": image_inputs((1, 3, 16, 16)),
}
