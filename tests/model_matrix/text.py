# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A tiny config of every text architecture."""

from __future__ import annotations

from typing import Any

from .prepare import fill_expert_tables, keep_skip_bias
from .rows import VOCABULARY, add_row


# Sliding window and attention chunk: below the 24 tokens of a test, so that they cut some off.
_WINDOW = 16
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
_DENSE_SPARSE_SPARSE = ["dense", "sparse", "sparse"]
_SLIDING_SLIDING_FULL = ["sliding_attention", "sliding_attention", "full_attention"]
_LINEAR_LINEAR_FULL = ["linear_attention", "linear_attention", "full_attention"]

# Routed experts in one group.
_UNGROUPED: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
# Routed experts of which a token sees only those in its best groups.
_GROUPED: dict[str, Any] = {"num_experts_per_tok": 3, "n_group": 3, "topk_group": 2, "moe_intermediate_size": 24}
# The same in models that name and arrange them like DeepSeek.
_DEEPSEEK: dict[str, Any] = _GROUPED | {"n_routed_experts": 12, "n_shared_experts": 1}
# Multi-head latent attention.
_MLA: dict[str, Any] = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
# The indexer of sparse attention; it lets all tokens of a test pass.
_INDEXER: dict[str, Any] = {"index_topk": 32, "index_head_dim": 16, "index_n_heads": 2}
# Gated delta nets.
_LINEAR: dict[str, Any] = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}

add_row(
    "afmoe",
    "AfmoeForCausalLM",
    "AfmoeConfig",
    hub_models=("arcee-ai/Trinity-Mini", "arcee-ai/Trinity-Nano-Preview"),
    num_experts=8,
    num_shared_experts=1,
    num_dense_layers=1,
    head_dim=8,
    layer_types=_SLIDING_SLIDING_FULL,
    sliding_window=_WINDOW,
    **_UNGROUPED,
)
add_row(
    "aria_text",
    "AriaTextForCausalLM",
    "AriaTextConfig",
    hub_models=("rhymes-ai/Aria",),
    since="5.19",  # before, the experts were called with router logits
    num_hidden_layers=2,
    moe_num_experts=8,
    moe_topk=2,
    moe_num_shared_experts=2,
)
add_row(
    "axk1",
    "AXK1ForCausalLM",
    "AXK1Config",
    hub_models=("skt/A.X-K1",),
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    **_DEEPSEEK,
    **_MLA,
)
add_row(
    "axk2",
    "AXK2ForCausalLM",
    "AXK2Config",
    hub_models=("skt/A.X-K2",),
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    gated_norm_rank=8,
    **_DEEPSEEK,
    **_MLA,
    **_INDEXER,
)
add_row(
    "bailing_hybrid",
    "BailingHybridForCausalLM",
    "BailingHybridConfig",
    hub_models=("inclusionAI/Ling-3.0-Flash",),
    since="5.23",
    num_local_experts=12,
    n_shared_experts=1,
    head_dim=8,
    layer_types=_LINEAR_LINEAR_FULL,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    **_GROUPED,
    **_MLA,
)
add_row(
    "beam",
    "BeamForCausalLM",
    "BeamConfig",
    hub_models=("reflection/Beam-1.0-501B-A23B",),
    since="5.23",
    num_experts=12,
    head_dim=8,
    layer_types=_SLIDING_SLIDING_FULL,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window=_WINDOW,
    **_GROUPED,
)
add_row(
    "cohere2_moe",
    "Cohere2MoeForCausalLM",
    "Cohere2MoeConfig",
    hub_models=("CohereLabs/command-a-plus-05-2026",),
    num_experts=8,
    num_experts_per_tok=2,
    num_shared_experts=1,
    head_dim=8,
    layer_types=_SLIDING_SLIDING_FULL,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window=_WINDOW,
    logit_scale=1.0,
)
add_row(
    "dbrx",
    "DbrxForCausalLM",
    "DbrxConfig",
    hub_models=("databricks/dbrx-instruct", "databricks/dbrx-base", "transformers-community/dbrx-instruct"),
    num_hidden_layers=2,
    # Set too late through its alias hidden_size: the config of the experts copies it before.
    d_model=32,
    attn_config={"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    ffn_config={"moe_num_experts": 8, "moe_top_k": 2, "ffn_hidden_size": 24},
    rope_parameters=_ROPE,
)
add_row(
    "deepseek_v2",
    "DeepseekV2ForCausalLM",
    "DeepseekV2Config",
    hub_models=("deepseek-ai/DeepSeek-V2-Lite", "deepseek-ai/DeepSeek-V2", "deepseek-ai/DeepSeek-Coder-V2-Instruct"),
    first_k_dense_replace=1,
    topk_method="group_limited_greedy",
    **_DEEPSEEK,
    **_MLA,
)
add_row(
    "deepseek_v3",
    "DeepseekV3ForCausalLM",
    "DeepseekV3Config",
    hub_models=("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1", "moonshotai/Moonlight-16B-A3B"),
    first_k_dense_replace=1,
    **_DEEPSEEK,
    **_MLA,
)
add_row(
    "deepseek_v32",
    "DeepseekV32ForCausalLM",
    "DeepseekV32Config",
    hub_models=("deepseek-ai/DeepSeek-V3.2-Exp", "deepseek-ai/DeepSeek-V3.2"),
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    **_DEEPSEEK,
    **_MLA,
    **_INDEXER,
)
add_row(
    "deepseek_v4",
    "DeepseekV4ForCausalLM",
    "DeepseekV4Config",
    hub_models=("deepseek-ai/DeepSeek-V4-Flash-Base",),
    prepare=fill_expert_tables,
    n_routed_experts=8,
    n_shared_experts=1,
    num_key_value_heads=1,
    head_dim=16,
    q_lora_rank=16,
    o_lora_rank=16,
    o_groups=2,
    layer_types=["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"],
    mlp_layer_types=["hash_moe", "moe", "moe"],
    compress_rates={"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
    partial_rotary_factor=0.5,
    sliding_window=_WINDOW,
    hc_mult=2,
    hc_sinkhorn_iters=2,
    **_UNGROUPED,
    **_INDEXER,
)
add_row(
    "dots1",
    "Dots1ForCausalLM",
    "Dots1Config",
    hub_models=("rednote-hilab/dots.llm1.base", "rednote-hilab/dots.llm1.inst"),
    first_k_dense_replace=1,
    max_window_layers=2,
    sliding_window=_WINDOW,
    **_DEEPSEEK,
)
add_row(
    "dots3_note_text",
    "Dots3NoteForCausalLM",
    "Dots3NoteTextConfig",
    hub_models=("dots-studio/dots3-note-prev",),
    since="5.23",
    shared_experts_intermediate_size=24,
    layer_types=["indexed_attention", "indexed_attention", "sliding_attention"],
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window=_WINDOW,
    swa_num_attention_heads=2,
    swa_num_key_value_heads=2,
    swa_q_lora_rank=8,
    swa_kv_lora_rank=8,
    swa_head_dim=16,
    swa_qk_nope_head_dim=8,
    swa_v_head_dim=8,
    **_DEEPSEEK,
    **_MLA,
    **_INDEXER,
)
add_row(
    "ernie4_5_moe",
    "Ernie4_5_MoeForCausalLM",
    "Ernie4_5_MoeConfig",
    hub_models=("baidu/ERNIE-4.5-21B-A3B-PT", "baidu/ERNIE-4.5-300B-A47B-PT"),
    moe_num_experts=8,
    moe_k=2,
    moe_intermediate_size=24,
    moe_num_shared_experts=2,
    moe_layer_start_index=1,
    moe_layer_end_index=2,
)
add_row(
    "exaone_moe",
    "ExaoneMoeForCausalLM",
    "ExaoneMoeConfig",
    hub_models=("LGAI-EXAONE/K-EXAONE-236B-A23B",),
    num_experts=12,
    num_shared_experts=1,
    layer_types=_SLIDING_SLIDING_FULL,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window=_WINDOW,
    **_GROUPED,
)
add_row(
    "flex_olmo",
    "FlexOlmoForCausalLM",
    "FlexOlmoConfig",
    hub_models=("allenai/FlexOlmo-7x7B-1T", "allenai/FlexOlmo-7x7B-1T-RT"),
    num_hidden_layers=2,
    num_experts=8,
    num_experts_per_tok=2,
)
add_row(
    "flint",
    "FlintForCausalLM",
    "FlintConfig",
    hub_models=("RecursiveSI/flint",),
    since="5.23",
    num_experts=8,
    shared_expert_intermediate_size=24,
    mlp_only_layers=[0],
    head_dim=8,
    layer_types=_SLIDING_SLIDING_FULL,
    sliding_window=_WINDOW,
    **_UNGROUPED,
)
add_row(
    "gemma4_text",
    "Gemma4ForCausalLM",
    "Gemma4TextConfig",
    hub_models=("google/gemma-4-26B-A4B-it", "google/gemma-4-26B-A4B"),
    num_hidden_layers=2,
    enable_moe_block=True,
    num_experts=8,
    top_k_experts=2,
    moe_intermediate_size=24,
    layer_types=["sliding_attention", "full_attention"],
    sliding_window=_WINDOW,
    head_dim=8,
    global_head_dim=16,
    num_global_key_value_heads=1,
    attention_k_eq_v=True,
    hidden_size_per_layer_input=0,
)
add_row(
    "glm4_moe",
    "Glm4MoeForCausalLM",
    "Glm4MoeConfig",
    hub_models=("zai-org/GLM-4.5", "zai-org/GLM-4.5-Air", "zai-org/GLM-4.6"),
    first_k_dense_replace=1,
    use_qk_norm=True,
    **_DEEPSEEK,
)
add_row(
    "glm4_moe_lite",
    "Glm4MoeLiteForCausalLM",
    "Glm4MoeLiteConfig",
    hub_models=("zai-org/GLM-4.7-Flash",),
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    **_DEEPSEEK,
    **_MLA,
)
add_row(
    "glm_moe_dsa",
    "GlmMoeDsaForCausalLM",
    "GlmMoeDsaConfig",
    hub_models=("zai-org/GLM-5",),
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    indexer_types=["full", "full", "shared"],
    **_DEEPSEEK,
    **_MLA,
    **_INDEXER,
)
add_row(
    "gpt_oss",
    "GptOssForCausalLM",
    "GptOssConfig",
    hub_models=("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
    num_local_experts=8,
    num_experts_per_tok=2,
    head_dim=8,
    sliding_window=_WINDOW,
    rope_parameters=_ROPE,
)
add_row(
    "granitemoe",
    "GraniteMoeForCausalLM",
    "GraniteMoeConfig",
    hub_models=("ibm-granite/granite-3.1-1b-a400m-instruct", "ibm-granite/granite-3.1-3b-a800m-instruct"),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
)
add_row(
    "granitemoe_swa",
    "GraniteMoeSWAForCausalLM",
    "GraniteMoeSWAConfig",
    hub_models=("ibm-granite/granite-swash-3b-a600m",),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    shared_intermediate_size=24,
    layer_types=["full_attention", "sliding_attention"],
    sliding_window=_WINDOW,
)
add_row(
    "granitemoehybrid",
    "GraniteMoeHybridForCausalLM",
    "GraniteMoeHybridConfig",
    hub_models=("ibm-granite/granite-4.0-h-tiny", "ibm-granite/granite-4.0-h-small"),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    shared_intermediate_size=24,
    layer_types=["linear_attention", "full_attention"],
    mamba_n_heads=4,
    mamba_d_state=8,
    mamba_chunk_size=16,
)
add_row(
    "granitemoeshared",
    "GraniteMoeSharedForCausalLM",
    "GraniteMoeSharedConfig",
    hub_models=("ibm-research/moe-7b-1b-active-shared-experts",),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    shared_intermediate_size=24,
)
add_row(
    "hunyuan_v1_moe",
    "HunYuanMoEV1ForCausalLM",
    "HunYuanMoEV1Config",
    hub_models=("tencent/Hunyuan-A13B-Instruct",),
    num_hidden_layers=2,
    num_experts=8,
    moe_topk=2,
    head_dim=8,
)
add_row(
    "hy_v3",
    "HYV3ForCausalLM",
    "HYV3Config",
    hub_models=("tencent/Hy3-preview",),
    num_experts=8,
    num_shared_experts=1,
    head_dim=8,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    **_UNGROUPED,
)
add_row(
    "hy_v4",
    "HYV4ForCausalLM",
    "HYV4Config",
    hub_models=("tencent/Hy4-preview",),
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    indexer_types=["full", "full", "shared"],
    hc_mult=2,
    **_DEEPSEEK,
    **_MLA,
    **_INDEXER,
)
add_row(
    "inkling2_text",
    "Inkling2ForCausalLM",
    "Inkling2TextConfig",
    hub_models=("thinkingmachines/Inkling-2-Small-MXFP8",),
    since="5.23",
    unpadded_vocab_size=VOCABULARY,
    n_routed_experts=8,
    head_dim=8,
    swa_num_attention_heads=4,
    swa_num_key_value_heads=2,
    swa_head_dim=8,
    layer_types=["hybrid_sliding", "hybrid_sliding", "hybrid"],
    sliding_window_size=_WINDOW,
    d_rel=4,
    rel_extent=32,
    n_layers_per_attn_res_block=2,
    **_UNGROUPED,
)
add_row(
    "inkling_text",
    "InklingForCausalLM",
    "InklingTextConfig",
    hub_models=("thinkingmachines/Inkling",),
    n_routed_experts=8,
    n_shared_experts=2,
    head_dim=8,
    swa_num_attention_heads=4,
    swa_num_key_value_heads=2,
    swa_head_dim=8,
    layer_types=["hybrid_sliding", "hybrid_sliding", "hybrid"],
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window_size=_WINDOW,
    d_rel=4,
    rel_extent=32,
    logits_mup_width_multiplier=1.0,
    **_UNGROUPED,
)
add_row(
    "jamba",
    "JambaForCausalLM",
    "JambaConfig",
    hub_models=("ai21labs/Jamba-v0.1", "ai21labs/AI21-Jamba-Mini-1.5", "ai21labs/Jamba-tiny-dev"),
    num_experts=8,
    num_experts_per_tok=2,
    expert_layer_period=2,
    expert_layer_offset=0,
    attn_layer_period=3,
    attn_layer_offset=2,
    mamba_d_state=8,
    use_mamba_kernels=False,
)
add_row(
    "jetmoe",
    "JetMoeForCausalLM",
    "JetMoeConfig",
    hub_models=("jetmoe/jetmoe-8b", "jetmoe/jetmoe-8b-chat"),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    kv_channels=8,
)
add_row(
    "kimi_linear",
    "KimiLinearForCausalLM",
    "KimiLinearConfig",
    hub_models=("moonshotai/Kimi-Linear-48B-A3B-Instruct", "moonshotai/Kimi-Linear-48B-A3B-Base"),
    num_local_experts=12,
    n_shared_experts=1,
    layer_types=_LINEAR_LINEAR_FULL,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    linear_head_dim=8,
    linear_num_heads=4,
    **_GROUPED,
    **(_MLA | {"q_lora_rank": None}),
)
add_row(
    "kolibri1",
    "Kolibri1ForCausalLM",
    "Kolibri1Config",
    hub_models=("Aleph-Alpha/Kolibri-1",),
    since="5.23",
    num_hidden_layers=2,
    num_local_experts=8,
    shared_expert_intermediate_size=24,
    head_dim=8,
    layer_types=["sliding_attention", "full_attention"],
    sliding_window=_WINDOW,
    **_UNGROUPED,
)
add_row(
    "laguna",
    "LagunaForCausalLM",
    "LagunaConfig",
    hub_models=("poolside/Laguna-XS.2",),
    num_experts=8,
    shared_expert_intermediate_size=24,
    head_dim=8,
    layer_types=["full_attention", "full_attention", "sliding_attention"],
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    num_attention_heads_per_layer=[4, 4, 8],
    sliding_window=_WINDOW,
    **_UNGROUPED,
)
add_row(
    "lfm2_moe",
    "Lfm2MoeForCausalLM",
    "Lfm2MoeConfig",
    hub_models=("LiquidAI/LFM2-8B-A1B", "LiquidAI/LFM2-24B-A2B"),
    num_experts=8,
    num_dense_layers=1,
    layer_types=["conv", "conv", "full_attention"],
    **_UNGROUPED,
)
add_row(
    "llama4_text",
    "Llama4ForCausalLM",
    "Llama4TextConfig",
    hub_models=("meta-llama/Llama-4-Scout-17B-16E", "meta-llama/Llama-4-Maverick-17B-128E-Instruct"),
    num_local_experts=8,
    num_experts_per_tok=2,
    moe_layers=[1, 2],
    intermediate_size_mlp=24,
    head_dim=8,
    no_rope_layer_interval=3,
    attention_chunk_size=_WINDOW,
)
add_row(
    "longcat_flash",
    "LongcatFlashForCausalLM",
    "LongcatFlashConfig",
    hub_models=("meituan-longcat/LongCat-Flash-Chat", "meituan-longcat/LongCat-Flash-Thinking"),
    # Two attention blocks a layer.
    num_hidden_layers=4,
    n_routed_experts=8,
    zero_expert_num=4,
    moe_topk=2,
    expert_ffn_hidden_size=24,
    head_dim=8,
    **_MLA,
)
add_row(
    "mellum",
    "MellumForCausalLM",
    "MellumConfig",
    hub_models=("JetBrains/Mellum2-12B-A2.5B-Base",),
    num_local_experts=8,
    head_dim=8,
    layer_types=_SLIDING_SLIDING_FULL,
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window=_WINDOW,
    **_UNGROUPED,
)
add_row(
    "mimo_v2_flash",
    "MiMoV2FlashForCausalLM",
    "MiMoV2FlashConfig",
    hub_models=("XiaomiMiMo/MiMo-V2-Flash",),
    n_routed_experts=12,
    head_dim=12,
    v_head_dim=8,
    layer_types=["full_attention", "sliding_attention", "full_attention"],
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    sliding_window=_WINDOW,
    **_GROUPED,
)
add_row(
    "minimax",
    "MiniMaxForCausalLM",
    "MiniMaxConfig",
    hub_models=("MiniMaxAI/MiniMax-Text-01-hf", "MiniMaxAI/MiniMax-M1-80k-hf"),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    head_dim=8,
    layer_types=["full_attention", "linear_attention"],
    block_size=8,
)
add_row(
    "minimax_m2",
    "MiniMaxM2ForCausalLM",
    "MiniMaxM2Config",
    hub_models=("MiniMaxAI/MiniMax-M2", "MiniMaxAI/MiniMax-M2.1"),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    head_dim=8,
)
add_row(
    "minimax_m3_vl_text",
    "MiniMaxM3VLForCausalLM",
    "MiniMaxM3VLTextConfig",
    hub_models=("MiniMaxAI/MiniMax-M3",),
    num_local_experts=8,
    num_experts_per_tok=2,
    dense_intermediate_size=24,
    shared_intermediate_size=24,
    head_dim=8,
    rotary_dim=4,
    layer_types=["full_attention", "full_attention", "minimax_m3_sparse"],
    mlp_layer_types=_DENSE_SPARSE_SPARSE,
    index_n_heads=2,
    index_head_dim=8,
    index_block_size=8,
    index_topk_blocks=4,
)
add_row(
    "mistral4",
    "Mistral4ForCausalLM",
    "Mistral4Config",
    hub_models=("mistralai/Mistral-Small-4-119B-2603",),
    first_k_dense_replace=1,
    **_DEEPSEEK,
    **_MLA,
)
add_row(
    "mixtral",
    "MixtralForCausalLM",
    "MixtralConfig",
    hub_models=("mistralai/Mixtral-8x7B-v0.1", "mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x22B-v0.1"),
    num_local_experts=8,
    num_experts_per_tok=2,
)
add_row(
    "nemotron_h",
    "NemotronHForCausalLM",
    "NemotronHConfig",
    hub_models=("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",),
    num_hidden_layers=4,
    layers_block_type=["linear_attention", "moe", "full_attention", "moe"],
    # The experts work on half of the hidden size.
    moe_latent_size=16,
    moe_shared_expert_intermediate_size=24,
    head_dim=8,
    mamba_num_heads=8,
    mamba_head_dim=8,
    n_groups=2,
    ssm_state_size=8,
    chunk_size=16,
    use_mamba_kernels=False,
    **_DEEPSEEK,
)
add_row(
    "olmoe",
    "OlmoeForCausalLM",
    "OlmoeConfig",
    hub_models=("allenai/OLMoE-1B-7B-0924", "allenai/OLMoE-1B-7B-0125", "allenai/OLMoE-1B-7B-0125-Instruct"),
    num_experts=8,
    num_experts_per_tok=2,
)
add_row(
    "phimoe",
    "PhimoeForCausalLM",
    "PhimoeConfig",
    hub_models=(
        "microsoft/Phi-3.5-MoE-instruct",
        "microsoft/Phi-mini-MoE-instruct",
        "microsoft/Phi-tiny-MoE-instruct",
    ),
    num_hidden_layers=2,
    num_local_experts=8,
    num_experts_per_tok=2,
    attention_bias=True,
    lm_head_bias=True,
)
add_row(
    "qwen2_moe",
    "Qwen2MoeForCausalLM",
    "Qwen2MoeConfig",
    hub_models=("Qwen/Qwen1.5-MoE-A2.7B", "Qwen/Qwen1.5-MoE-A2.7B-Chat", "Qwen/Qwen2-57B-A14B-Instruct"),
    num_experts=8,
    shared_expert_intermediate_size=24,
    mlp_only_layers=[1],
    **_UNGROUPED,
)
add_row(
    "qwen3_5_moe_text",
    "Qwen3_5MoeForCausalLM",
    "Qwen3_5MoeTextConfig",
    hub_models=("Qwen/Qwen3.5-35B-A3B",),
    num_hidden_layers=2,
    num_experts=8,
    shared_expert_intermediate_size=24,
    head_dim=8,
    layer_types=["linear_attention", "full_attention"],
    **_UNGROUPED,
    **_LINEAR,
)
add_row(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    "Qwen3MoeConfig",
    hub_models=("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
    num_experts=8,
    head_dim=8,
    mlp_only_layers=[1],
    norm_topk_prob=True,
    **_UNGROUPED,
)
add_row(
    "qwen3_next",
    "Qwen3NextForCausalLM",
    "Qwen3NextConfig",
    hub_models=("Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen/Qwen3-Next-80B-A3B-Thinking"),
    num_experts=8,
    shared_expert_intermediate_size=24,
    mlp_only_layers=[0],
    head_dim=8,
    layer_types=_LINEAR_LINEAR_FULL,
    **_UNGROUPED,
    **_LINEAR,
)
add_row(
    "qwen4_exp_text",
    "Qwen4ExpForCausalLM",
    "Qwen4ExpTextConfig",
    hub_models=("Qwen/Qwen4-Exp",),
    num_hidden_layers=2,
    num_experts=8,
    shared_expert_intermediate_size=24,
    head_dim=8,
    layer_types=["linear_attention", "full_attention"],
    hc_count=2,
    hc_lowrank=8,
    indexer_n_heads=2,
    indexer_kv_heads=1,
    indexer_head_dim=8,
    indexer_budget=32,
    indexer_compress_ratio=4,
    **_UNGROUPED,
    **_LINEAR,
)
add_row(
    "solar_open",
    "SolarOpenForCausalLM",
    "SolarOpenConfig",
    hub_models=("upstage/Solar-Open-100B",),
    num_hidden_layers=2,
    head_dim=8,
    **_DEEPSEEK,
)
add_row(
    "zaya",
    "ZayaForCausalLM",
    "ZayaConfig",
    hub_models=("Zyphra/ZAYA1-8B",),
    prepare=keep_skip_bias,
    num_hidden_layers=2,
    num_experts=8,
    num_experts_per_tok=1,
    moe_intermediate_size=24,
    router_hidden_size=16,
    head_dim=8,
    layer_types=["hybrid", "hybrid_sliding"],
    sliding_window=_WINDOW,
)
