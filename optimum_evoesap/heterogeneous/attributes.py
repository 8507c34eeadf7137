# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The config attribute that says how many experts there are: which config has it, its global value, its overrides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from transformers import PretrainedConfig


# Numbers about experts that are none of routed experts: those of one token, shared ones, groups.
_OTHER_NUMBERS = ("per_tok", "top_k", "topk", "selected", "shared", "group", "used")


def is_expert_count(name: str) -> bool:
    """Whether a config attribute of this name may say how many routed experts there are.

    The one rule for it. That it does, discovery finds by building the model with another value.
    """
    return "expert" in name and not any(part in name for part in _OTHER_NUMBERS)


def expert_counts(config: PretrainedConfig) -> Iterator[tuple[str, int]]:
    """Integers of a model's text config that could count experts, as (attribute, value).

    One in a config nested in the text config (DBRX keeps it in `ffn_config`) is given under its own name.
    """
    text_config = config.get_text_config(decoder=True)
    for holder in (text_config, *nested_configs(text_config).values()):
        for name, value in list(holder.__dict__.items()):
            if is_expert_count(name) and isinstance(value, int) and not isinstance(value, bool) and value > 1:
                yield name, value


def count_holder(text_config: PretrainedConfig, attribute: str) -> PretrainedConfig:
    """The config that really has an attribute: the text config itself, or one nested in it.

    Args:
        text_config: Text config of a model.
        attribute: Name of the attribute, not an alias.
    """
    if attribute not in text_config.__dict__:
        for nested in nested_configs(text_config).values():
            if attribute in nested.__dict__:
                return nested
    return text_config


def nested_configs(text_config: PretrainedConfig) -> dict[str, PretrainedConfig]:
    """The configs that stand in a text config as attributes."""
    from transformers import PretrainedConfig  # `import optimum_evoesap` loads this file, but not transformers

    return {name: value for name, value in text_config.__dict__.items() if isinstance(value, PretrainedConfig)}


def per_layer_overrides(config: PretrainedConfig) -> dict[int, dict[str, Any]]:
    """The `per_layer_config` of a config as plain numbers, with aliases resolved to the attribute that is read."""
    if not config.is_heterogeneous:
        return {}
    overrides = config.to_dict().get("per_layer_config") or {}
    return {
        int(layer): {config.attribute_map.get(name, name): value for name, value in values.items()}
        for layer, values in overrides.items()
    }


def global_value(config: PretrainedConfig, attribute: str, default: Any = None) -> Any:
    """The config-wide value of an attribute, also where layers override it (reading it plainly would then raise).

    Args:
        config: Text config of a model.
        attribute: Name or alias of the attribute.
        default: Returned where there is no such attribute.
    """
    attribute = config.attribute_map.get(attribute, attribute)
    return count_holder(config, attribute).__dict__.get(attribute, default)


def has_expert_overrides(config: Any) -> bool:
    """Whether some layer of this config has an expert count of its own."""
    return any(map(is_expert_count, getattr(config, "per_layer_attributes", None) or ()))
