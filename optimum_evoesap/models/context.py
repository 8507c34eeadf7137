# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How many tokens a model reads at once, as its config says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig


# The usual name, then those of older models and of code that comes with a checkpoint.
_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "model_max_length")
_ROPE_NAMES = ("rope_parameters", "rope_scaling")


def context_length(config: PretrainedConfig) -> int | None:
    """The most tokens that a model was made for; `None` where its config does not say.

    A model with scaled rotary embeddings reads what they are scaled to: some configs keep the length before that.

    Args:
        config: Config of the model; of a multimodal one that of its language model counts.
    """
    text = config.get_text_config(decoder=True)
    stated = next((value for name in _NAMES if _is_length(value := getattr(text, name, None))), None)
    if stated is None:
        return None
    scaled = [_scaled_length(rope, stated) for name in _ROPE_NAMES for rope in _ropes(getattr(text, name, None))]
    return max([stated, *scaled])


def _ropes(parameters: Any) -> list[Mapping[str, Any]]:
    """The parameters of rotary embeddings: one for all layers, or one for each kind of layer."""
    if not isinstance(parameters, Mapping):
        return []
    return [parameters, *(each for each in parameters.values() if isinstance(each, Mapping))]


def _scaled_length(rope: Mapping[str, Any], stated: int) -> int:
    original, factor = rope.get("original_max_position_embeddings"), rope.get("factor")
    if not isinstance(factor, (int, float)):
        return stated
    return round((original if isinstance(original, int) else stated) * factor)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
