# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How many tokens a model reads: from its config, nested or not, scaled or not, or nothing."""

from __future__ import annotations

import pytest
from transformers import DbrxConfig, Gemma4Config, GPT2Config, OlmoeConfig, PretrainedConfig, Qwen3MoeConfig

from optimum_evoesap.models.context import context_length
from tests.model_matrix import MODEL_TYPES, make_config


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_architecture_says_it_or_has_no_limit(model_type):
    config = make_config(model_type)
    stated = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    found = context_length(config)
    assert found == stated or (stated is not None and found > stated)


def test_under_other_names_and_nested():
    assert context_length(OlmoeConfig(max_position_embeddings=1234)) == 1234
    assert context_length(GPT2Config(n_positions=512)) == 512
    assert context_length(DbrxConfig(max_seq_len=768)) == 768
    nested = Gemma4Config(text_config={"max_position_embeddings": 640})
    assert context_length(nested) == 640
    assert context_length(PretrainedConfig()) is None


YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("stated", "rope", "length"),
    [
        (32768, YARN | {"original_max_position_embeddings": 32768}, 131072),
        (131072, YARN | {"original_max_position_embeddings": 32768}, 131072),
        (2048, {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}, 4096),
        (131072, {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 131072),
        (4096, {"rope_type": "default", "rope_theta": 10000.0}, 4096),
        (1024, {"full": YARN | {"original_max_position_embeddings": 1024}, "sliding": {"rope_type": "default"}}, 4096),
    ],
)
def test_scaled_rotary_embeddings_reach_as_far_as_they_are_scaled_to(stated, rope, length):
    config = Qwen3MoeConfig(max_position_embeddings=stated)
    config.rope_parameters = rope
    assert context_length(config) == length
