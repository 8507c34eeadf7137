# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Surgery: really remove experts from a model in memory, and say so in its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from .adapters import MoELayer, Structure, global_value, per_layer_overrides
from .layer_config import layer_config


def remove_experts(
    model: PreTrainedModel,
    layers: Sequence[MoELayer],
    structure: Structure,
    kept_experts: Mapping[int, Sequence[int]],
) -> PreTrainedModel:
    """Slice every tensor with an expert axis to the kept experts, in place, and write the counts into the config.

    Args:
        model: The model; its tensors are replaced layer by layer, so the extra memory is that of one layer.
        layers: All sparse layers of the model.
        structure: The structure of its class.
        kept_experts: The kept experts of each decoder layer, ascending; layers that are not named stay whole.
    """
    for layer in layers:
        kept = list(kept_experts.get(layer.index, range(layer.num_experts)))
        if len(kept) < layer.num_experts:
            for tensor in layer.tensors:
                tensor.replace(tensor.selected(kept))
            for count in layer.counts:
                count.set_experts(len(kept))
    counts = {layer.index: layer.num_experts for layer in layers}
    config = model.config.get_text_config(decoder=True)
    write_expert_counts(config, structure.attribute, counts)
    for layer in layers:
        _point_to_layer_config(layer.layer, config, per_layer_overrides(config).get(layer.index, {}))
    for path in ("", *(name for name in structure.counts if not any(part.isdigit() for part in name.split(".")))):
        for whole in structure.counts.get(path, ()):
            setattr(
                model.get_submodule(path),
                whole.attribute,
                whole.rows * global_value(config, structure.attribute) + whole.extra,
            )
    return model


def write_expert_counts(config: PretrainedConfig, attribute: str, counts: Mapping[int, int]) -> None:
    """Write the experts of each decoder layer into a config.

    Equal counts make an ordinary config; different ones go into transformers' own `per_layer_config`, merged with what
    it holds already. The name is the attribute that the architecture reads: under an alias from `attribute_map`
    transformers would build a uniform model without a word.
    """
    overrides = per_layer_overrides(config)
    for values in overrides.values():
        values.pop(attribute, None)
    config.per_layer_config = None
    if len(set(counts.values())) == 1:
        setattr(config, attribute, next(iter(counts.values())))
    else:
        for layer, count in counts.items():
            overrides.setdefault(layer, {})[attribute] = count
    config.per_layer_config = {layer: values for layer, values in sorted(overrides.items()) if values} or None


def _point_to_layer_config(layer: nn.Module, config: PretrainedConfig, overrides: dict) -> None:
    """Give a layer's modules the config they would have after a reload."""
    own = layer_config(config, overrides) if overrides else config
    for module in layer.modules():
        held = getattr(module, "config", None)
        if isinstance(held, type(config)):
            module.config = own
