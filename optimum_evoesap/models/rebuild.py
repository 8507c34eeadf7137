# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Check before the work that a checkpoint with different expert counts could be loaded again."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from transformers import PreTrainedModel

from ..adapters import BlockSketch, MoELayer, Structure, bind_layers
from ..adapters.structure import build_on_meta
from .surgery import write_expert_counts


def check_rebuild(
    model: PreTrainedModel, layers: Sequence[MoELayer], structure: Structure, sketches: list[BlockSketch]
) -> None:
    """Build the model's class without weights from a config whose layers have different expert counts.

    Args:
        model: The model to prune.
        layers: Its sparse layers.
        structure: The structure of its class.
        sketches: Its blocks.

    Raises:
        ValueError: The class cannot be built so; says what it needs.
    """
    smaller = next((layer for layer in layers if layer.min_kept < layer.num_experts), None)
    if smaller is None or len(layers) == 1:
        return
    counts = {layer.index: layer.experts_per_block for layer in layers}
    counts[smaller.index] = smaller.min_kept // len(smaller.blocks)
    config = copy.deepcopy(model.config)
    write_expert_counts(config.get_text_config(decoder=True), structure.attribute, counts)
    try:
        built = bind_layers(build_on_meta(type(model), config), structure, sketches)
    except (RuntimeError, ValueError, AttributeError) as error:
        raise _cannot_be_rebuilt(model, str(error)) from error
    found = {layer.index: layer.experts_per_block for layer in built}
    if found != counts:
        raise _cannot_be_rebuilt(model, f"asked for {counts} experts by layer it has {found}")


def _cannot_be_rebuilt(model: PreTrainedModel, reason: str) -> ValueError:
    return ValueError(
        f"A checkpoint of {type(model).__name__} with different expert counts could not be loaded again: {reason}. "
        "Its layers must be built from a `config` and a `layer_idx`; allocation='uniform' needs none of this."
    )
