# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Surgery: really remove experts from a model in memory, and say so in its config."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from transformers import PretrainedConfig, PreTrainedModel

from ..adapters import MoELayer, Structure
from ..heterogeneous.attributes import count_holder, global_value, per_layer_overrides
from ..heterogeneous.construction import wrap_layers
from ..heterogeneous.count_readers import let_read_counts
from ..heterogeneous.layer_config import give_layer_config


def remove_experts(
    model: PreTrainedModel,
    layers: Sequence[MoELayer],
    structure: Structure,
    kept_experts: Mapping[int, Sequence[int]],
) -> PreTrainedModel:
    """Slice everything that has one entry per expert to the kept experts, in place, and write the counts down.

    Args:
        model: The model; its tensors are replaced layer by layer, so the extra memory is that of one layer.
        layers: All sparse layers of the model.
        structure: The structure of its class.
        kept_experts: The kept experts of each decoder layer, ascending; layers that are not named stay whole.
    """
    for layer in layers:
        if layer.index in kept_experts:
            layer.remove_all_but(kept_experts[layer.index])
    config = model.config.get_text_config(decoder=True)
    write_expert_counts(config, structure.attribute, {layer.index: layer.experts_per_block for layer in layers})
    for layer in layers:
        give_layer_config(layer.modules, config, per_layer_overrides(config).get(layer.index, {}))
    let_read_counts(model)
    # The auxiliary loss is that of layers of different size from now on.
    wrap_layers(sys.modules[type(model).__module__])
    # What the model itself counts, for its auxiliary loss, is the config-wide number.
    for path in (name for name in structure.counts if not any(part.isdigit() for part in name.split("."))):
        for whole in structure.counts[path]:
            value = whole.rows * global_value(config, structure.attribute) + whole.extra
            setattr(model.get_submodule(path), whole.attribute, value)
    return model


def write_expert_counts(config: PretrainedConfig, attribute: str, counts: Mapping[int, int]) -> None:
    """Write the experts of each decoder layer into a config.

    Equal counts make an ordinary config; different ones go into transformers' own `per_layer_config`, merged with what
    it holds already. The name is the attribute that the architecture reads: under an alias from `attribute_map`
    transformers would build a uniform model without a word.

    Args:
        config: The text config of a model; it is changed.
        attribute: The attribute that says how many experts there are.
        counts: Experts by decoder layer.
    """
    overrides = per_layer_overrides(config)
    for values in overrides.values():
        values.pop(attribute, None)
    config.per_layer_config = None
    holder = count_holder(config, attribute)
    if len(set(counts.values())) == 1:
        setattr(holder, attribute, next(iter(counts.values())))
    else:
        # Where the attribute stands in a nested config, transformers wants it for every layer.
        layers = counts if holder is config else range(config.num_hidden_layers)
        for layer in layers:
            overrides.setdefault(layer, {})[attribute] = counts.get(layer, getattr(holder, attribute))
    config.per_layer_config = {layer: values for layer, values in sorted(overrides.items()) if values} or None
