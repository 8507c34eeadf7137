# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Accept configs whose layers have different expert counts where transformers' own checks would refuse them.

Some configs read the expert count while they validate themselves, and some models ask for the config of a layer type
(for rotary embeddings) and need all layers of the type to be equal. Expert counts matter for neither.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

from .attributes import has_expert_overrides, is_expert_count


logger = logging.getLogger(__name__)

_MARK = "_evoesap_knows_layers"
# What is changed in transformers.integrations.heterogeneity.configuration_utils.
_CHANGED = ("_PerLayerConfigView", "_apply_heterogeneous_config")


class _GlobalReads(threading.local):
    """Configs of which this thread may read the config-wide expert count, by identity."""

    def __init__(self) -> None:
        self.configs: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.configs)

    def allows(self, config: Any) -> bool:
        return id(config) in self.configs


_validating = _GlobalReads()


def allow_global_reads(readers: Any) -> None:
    """Let some code read the config-wide expert count of configs whose layers have counts of their own.

    Args:
        readers: Has `allows(config)`, and is true while it allows anything.
    """
    from transformers.integrations.heterogeneity import configuration_utils

    mixin = configuration_utils.HeterogeneousConfigMixin
    allowed = mixin.allow_global_per_layer_attribute_access

    def is_allowed(self) -> bool:
        return allowed.fget(self) or readers.allows(self)

    mixin.allow_global_per_layer_attribute_access = property(is_allowed, allowed.fset)
    # transformers warns of such a read once in each process; here it is intended.
    configuration_utils.logger.addFilter(
        lambda record: not readers or "Reading global config value" not in str(record.msg)
    )


def install() -> None:
    """Wrap the parts of transformers' heterogeneous configs; calling it again changes nothing."""
    from transformers.integrations.heterogeneity import configuration_utils

    missing = [name for name in _CHANGED if not hasattr(configuration_utils, name)]
    if missing:
        # An error here would stop every use of transformers, with any model.
        logger.warning(
            "This transformers has no %s: models whose layers have different numbers of experts cannot be loaded. "
            "optimum-evoesap knows transformers 5.17 to 5.23.",
            " and ".join(missing),
        )
        return
    view_class, apply = (getattr(configuration_utils, name) for name in _CHANGED)
    if hasattr(view_class, _MARK):
        return
    setattr(view_class, _MARK, True)
    view_class.__getitem__ = _for_layer_types(view_class.__getitem__)

    @functools.wraps(apply)
    def _apply_heterogeneous_config(config, per_layer_config):
        apply(config, per_layer_config)
        if has_expert_overrides(config):
            _let_validators_read(type(config))

    configuration_utils._apply_heterogeneous_config = _apply_heterogeneous_config
    allow_global_reads(_validating)


def _for_layer_types(get_item: Callable[..., Any]) -> Callable[..., Any]:
    """Let layers that differ only in their expert counts pass as equal when the config of a layer type is read."""

    @functools.wraps(get_item)
    def __getitem__(self, layer_idx):
        config = self._config
        if not isinstance(layer_idx, str) or not has_expert_overrides(config):
            return get_item(self, layer_idx)
        spec = config._heterogeneity_spec
        overrides = spec.per_layer_overrides
        spec.per_layer_overrides = {
            layer: {name: value for name, value in values.items() if not is_expert_count(name)}
            for layer, values in overrides.items()
        }
        try:
            return get_item(self, layer_idx)
        finally:
            spec.per_layer_overrides = overrides

    return __getitem__


def _let_validators_read(config_class: type) -> None:
    """Let the checks of a config class read the config-wide count; transformers' base class checks each layer's."""
    validators = config_class.__dict__.get("__class_validators__", [])
    for position, validator in enumerate(validators):
        if not hasattr(validator, _MARK):
            validators[position] = _reading(validator)


def _reading(validator: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(validator)
    def validate(self):
        _validating.configs.append(id(self))
        try:
            return validator(self)
        finally:
            _validating.configs.pop()

    setattr(validate, _MARK, True)
    return validate
