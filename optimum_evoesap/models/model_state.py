# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ModelState`]: everything about a model that a stage may change and has to put back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..heterogeneous.attributes import nested_configs


# Tables of a module; they are filled again in place, since handles of hooks refer to them.
_TABLES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")


class ModelState:
    """What a model is made of now: its modules, tensors, hooks, forwards, configs, mode and flags; and what it shares.

    Tensors are held, not copied: nothing that runs a model writes into them.

    Args:
        model: Any model.
    """

    def __init__(self, model: PreTrainedModel):
        modules = list(model.modules())
        self._modules = [(module, dict(vars(module))) for module in modules]
        self._wanting = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        configs = {id(each): each for module in modules for each in _configs_of(vars(module).get("config"))}
        self._configs = [(config, dict(vars(config))) for config in configs.values()]
        tables = [table for module in modules for table in _tables_of(module)]
        names = {type(module).__module__ for module in modules} & sys.modules.keys()
        files = [vars(sys.modules[name]) for name in sorted(names)]
        self._tables = [(table, _copy(table)) for table in (*tables, ALL_ATTENTION_FUNCTIONS._local_mapping)]
        self._functions = [(file, name, file[name]) for file in files for name in file if name.startswith("apply_")]
        self._has_gradients = torch.is_grad_enabled()
        self._random = torch.get_rng_state()
        self._random_on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def restore(self) -> None:
        """Put everything back. To begin anew after an interrupt does no harm."""
        torch.set_grad_enabled(self._has_gradients)
        torch.set_rng_state(self._random)
        if self._random_on_devices:
            torch.cuda.set_rng_state_all(self._random_on_devices)
        for owner, values in (*self._modules, *self._configs):
            _fill(vars(owner), values)
        for table, content in self._tables:
            _fill(table, content)
        for file, name, function in self._functions:
            file[name] = function
        for parameter, is_wanted in self._wanting:
            parameter.requires_grad_(is_wanted)

    def restore_mode(self) -> None:
        """Put back which modules are in training mode, and nothing else."""
        for module, values in self._modules:
            module.training = values["training"]


def _tables_of(module: nn.Module) -> Iterator[Any]:
    for name, value in vars(module).items():
        if name in _TABLES or ("_hooks" in name and isinstance(value, MutableMapping)):
            yield value


def _configs_of(config: Any) -> Iterator[PretrainedConfig]:
    if isinstance(config, PretrainedConfig):
        yield config
        for nested in nested_configs(config).values():
            yield from _configs_of(nested)


def _copy(table: Any) -> Any:
    return set(table) if isinstance(table, set) else dict(table)


def _fill(table: Any, content: Any) -> None:
    """Give a table its content again, where it differs; tensors are the same only if they are one object."""
    is_set = isinstance(table, set)
    if table == content if is_set else _identities(table) == _identities(content):
        return
    table.clear()
    table.update(content)


def _identities(table: MutableMapping[Any, Any]) -> list[tuple[Any, int]]:
    return [(key, id(value)) for key, value in table.items()]
