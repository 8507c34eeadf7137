# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A config as a model on the Hub brings its own."""

from transformers import PretrainedConfig


class ListedMoeConfig(PretrainedConfig):
    model_type = "listed_moe"

    def __init__(
        self,
        vocab_size=96,
        hidden_size=32,
        moe_intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        n_routed_experts=8,
        num_experts_per_tok=2,
        initializer_range=0.4,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.moe_intermediate_size = moe_intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.n_routed_experts = n_routed_experts
        self.num_experts_per_tok = num_experts_per_tok
        self.initializer_range = initializer_range
        super().__init__(**kwargs)
