# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Loads a mixture of experts whose layers have different numbers of experts, with nothing but transformers.

config.json tells them in transformers' own `per_layer_config`, which transformers (5.17 to 5.23) reads but does not
yet build most models by. This file is that one step. It holds no model: `modeling_evoesap.NameConfig` is `NameConfig`
of transformers, which here also tells each decoder layer the number of its experts. The model classes are those of
transformers, and models with other configs are not touched.
"""

import functools
import importlib.util
import inspect

import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.integrations.heterogeneity.configuration_utils import HeterogeneousConfigMixin
from transformers.modeling_utils import PreTrainedModel


_LAYER_INDEX_NAMES = ("layer_idx", "layer_index", "block_idx", "layer_id")


def __getattr__(name):
    """`auto_map` asks here for the config class of a model type."""
    stock = getattr(transformers, name, None)
    if not (isinstance(stock, type) and issubclass(stock, PreTrainedConfig)):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _layered(stock)


@functools.cache
def _layered(stock):
    """The subclass of a config class that knows layers."""
    _let_layers_take_their_config(stock)
    # The name of the stock class, by which transformers finds its models.
    layered = type(stock.__name__, (_Layered, stock), {"__module__": __name__})
    globals()[stock.__name__] = layered  # copy and pickle look there
    return layered


class _Layered:
    """The config of a model, or of one layer.

    That of a model lets what concerns no layer read the config-wide number. That of a layer reads the layer's own
    values first and all else from the model's, so that later changes to it (the attention implementation) reach it.
    """

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        config_dict = dict(config_dict)
        for name, stock in cls.sub_configs.items():
            inner = config_dict.get(name)
            if isinstance(inner, dict):
                stock = CONFIG_MAPPING[inner["model_type"]] if stock is AutoConfig else stock
                config_dict[name] = _layered(stock).from_dict(inner)
        return super().from_dict(config_dict, **kwargs)

    def __getattribute__(self, name):
        read = object.__getattribute__
        own, name = read(self, "__dict__"), read(self, "attribute_map").get(name, name)
        # In vLLM the plugin of optimum_evoesap answers for the layer that is being built.
        has_plugin = hasattr(HeterogeneousConfigMixin.__getattribute__, "answers_for_layers")
        if name in own and ("_model_config" in own or not has_plugin):
            return own[name]
        if "_model_config" in own and name in own["_model_config"].__dict__ and name != "_heterogeneity_spec":
            return own["_model_config"].__dict__[name]
        return super().__getattribute__(name)

    def _of_layer(self, index, values=None):
        if values is None:
            values = self._heterogeneity_spec.per_layer_overrides.get(index, {})
        config = object.__new__(type(self))
        config.__dict__.update(values, skip=values.get("skip", []), _model_config=self)
        for name, nested in self.__dict__.items():
            if isinstance(nested, _Layered) and not values.keys().isdisjoint(nested.__dict__):
                config.__dict__[name] = nested._of_layer(index, values)
        return config

    @property
    def per_layer_config(self):
        return _Layers(self)

    @per_layer_config.setter
    def per_layer_config(self, value):
        PreTrainedConfig.per_layer_config.fset(self, value)


class _Layers:
    """The configs of all layers; that of a layer type is the one of its first layer."""

    def __init__(self, config):
        self._config = config

    def __len__(self):
        return self._config.num_hidden_layers

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if isinstance(index, str):
            index = self._config.layer_types.index(index)
        return self._config._of_layer(range(len(self))[index]) if self._config.is_heterogeneous else self._config


def _let_layers_take_their_config(stock):
    """Change the classes in the modeling file that are built from a config and a layer index."""
    package, _, file = stock.__module__.rpartition(".")
    modeling = f"{package}.{file.replace('configuration_', 'modeling_')}"
    if importlib.util.find_spec(modeling) is None:
        return  # a config without a model of its own
    for item in list(vars(importlib.import_module(modeling)).values()):
        if isinstance(item, type) and issubclass(item, nn.Module) and "__init__" in vars(item):
            names = inspect.signature(item.__init__).parameters
            index_name = next((name for name in _LAYER_INDEX_NAMES if name in names), None)
            if index_name and "config" in names and not hasattr(item.__init__, "_takes_layer_config"):
                item.__init__ = _with_layer_config(item.__init__, index_name)


def _with_layer_config(build, index_name):
    signature = inspect.signature(build)

    @functools.wraps(build)
    def __init__(*args, **kwargs):
        bound = signature.bind_partial(*args, **kwargs)
        config, index = bound.arguments.get("config"), bound.arguments.get(index_name)
        # Not by `isinstance`: each repository has a copy of this file. Where the package optimum_evoesap is imported
        # too, it does the same.
        is_layered = hasattr(config, "_of_layer") and not hasattr(PreTrainedModel, "_evoesap_builds_layers")
        if is_layered and config.is_heterogeneous and isinstance(index, int):
            bound.arguments["config"] = config._of_layer(index)
        return build(*bound.args, **bound.kwargs)

    __init__._takes_layer_config = True
    return __init__
