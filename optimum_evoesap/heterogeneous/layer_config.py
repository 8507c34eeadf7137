# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The config of one decoder layer of a model whose layers have different expert counts."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import PretrainedConfig

from .attributes import nested_configs


if TYPE_CHECKING:
    from torch import nn


class _LayerConfigMixin:
    """Reads its own overrides first and everything else from the live config of the model, at each access.

    transformers gives a layer a copy of the config. A copy does not see a later `set_attn_implementation` or
    `set_experts_implementation`, which change the model's config in place; this view does.
    """

    attribute_map: ClassVar[dict[str, str]]

    def __getattribute__(self, key: str) -> Any:
        own = super().__getattribute__("__dict__")
        live = own.get("_live_config")
        if live is None or (key.startswith("__") and key.endswith("__")):
            return super().__getattribute__(key)
        key = super().__getattribute__("attribute_map").get(key, key)
        if key in own:
            return own[key]
        if key == "_heterogeneity_spec":
            raise AttributeError(key)  # one layer alone is never heterogeneous
        if key in live.__dict__:
            return live.__dict__[key]
        return super().__getattribute__(key)

    def __reduce__(self):
        own = dict(self.__dict__)
        return layer_config, (own.pop("_live_config"), own)


@functools.cache
def _view_class(config_class: type[PretrainedConfig]) -> type[PretrainedConfig]:
    return type(config_class.__name__, (_LayerConfigMixin, config_class), {"__module__": config_class.__module__})


def layer_config(config: PretrainedConfig, overrides: dict[str, Any]) -> PretrainedConfig:
    """The config of one layer: `overrides` on top of the live `config`.

    Args:
        config: The model's config; later changes to it show through.
        overrides: Values of this layer, under the attribute names that the architecture reads.
    """
    view = object.__new__(_view_class(type(config)))  # type: ignore[arg-type]  # mypy 2 thinks `type` is unhashable
    nested = {
        name: layer_config(part, {key: overrides[key] for key in overrides if key in part.__dict__})
        for name, part in nested_configs(config).items()
        if any(key in part.__dict__ and key not in config.__dict__ for key in overrides)
    }
    view.__dict__.update({"skip": []} | nested | overrides, _live_config=config)
    return view


def give_layer_config(
    modules: Iterable[nn.Module], config: PretrainedConfig, overrides: dict[str, Any], undo: ExitStack | None = None
) -> None:
    """Give a layer's modules the config that they would have if they had been built with `overrides`.

    Args:
        modules: The decoder layer, or several of one index.
        config: The live config of the model.
        overrides: Values of this layer; where it is empty and all layers are equal, they get the model's own config.
        undo: Gets a callback for each module that restores the config it had.
    """
    own = layer_config(config, overrides) if overrides or config.is_heterogeneous else config
    for module in (part for whole in modules for part in whole.modules()):
        held = module.__dict__.get("config")
        if isinstance(held, type(config)):
            if undo is not None:
                undo.callback(setattr, module, "config", held)
            module.config = own
