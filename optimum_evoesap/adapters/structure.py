# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where a model class keeps its experts, found by building it on the meta device with different expert counts.

No architecture is named here: what moves when the expert count moves belongs to the experts. A tensor axis that has
`rows * count + extra` entries is an expert axis; an integer attribute that moves the same way counts experts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class ExpertAxis:
    """An axis of a parameter or buffer along which experts lie: `rows` each, then `extra` rows that always stay."""

    axis: int
    rows: int = 1
    extra: int = 0


@dataclass(frozen=True)
class ExpertCount:
    """An integer attribute of a module that counts experts: `rows * experts + extra`."""

    attribute: str
    rows: int = 1
    extra: int = 0


@dataclass
class Structure:
    """What the expert count of a model class reaches.

    Attributes:
        attribute: The config attribute that the architecture itself reads (never an alias of it).
        axes: Expert axis by full tensor name.
        counts: Integer attributes by full module name.
        model: The model on the meta device at the config's own count, to look at shapes and modules.
    """

    attribute: str
    axes: dict[str, ExpertAxis]
    counts: dict[str, list[ExpertCount]]
    model: PreTrainedModel


def discover_structure(model_class: type[PreTrainedModel], config: PretrainedConfig) -> Structure | None:
    """Find everything in `model_class` that has one entry per routed expert.

    Args:
        model_class: Class of the model, such as `OlmoeForCausalLM`.
        config: Its config; overrides of the expert count in `per_layer_config` are set aside.

    Returns:
        The structure, or `None` when no integer of the config moves a router and its experts (a dense model).
    """
    for attribute, count in _candidate_counts(config):
        models = [build_on_meta(model_class, with_expert_count(config, attribute, count * k)) for k in (1, 2, 3)]
        axes = _moving_axes(models, count)
        # A shared expert's width can follow an expert count too; only the router has exactly one row per expert
        # beside the much larger expert weights.
        if any(item.rows == 1 for item in axes.values()) and len(axes) > 1:
            return Structure(attribute, axes, _moving_counts(models, count), models[0])
    return None


def build_on_meta(model_class: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """Build a model without memory or weights."""
    with torch.device("meta"):
        return model_class(config)


def with_expert_count(config: PretrainedConfig, attribute: str, count: int) -> PretrainedConfig:
    """A copy of `config` with `count` experts in every sparse layer; other per-layer overrides stay."""
    config = copy.deepcopy(config)
    text_config = config.get_text_config(decoder=True)
    overrides = per_layer_overrides(text_config)
    for layer in overrides.values():
        layer.pop(attribute, None)
    text_config.per_layer_config = {layer: values for layer, values in overrides.items() if values} or None
    setattr(text_config, attribute, count)
    return config


def per_layer_overrides(config: PretrainedConfig) -> dict[int, dict[str, Any]]:
    """The `per_layer_config` of a config as plain numbers, with aliases resolved to the attribute that is read."""
    overrides = config.to_dict().get("per_layer_config") or {}
    return {
        int(layer): {config.attribute_map.get(name, name): value for name, value in values.items()}
        for layer, values in overrides.items()
    }


def global_value(config: PretrainedConfig, attribute: str, default: Any = None) -> Any:
    """The config-wide value of an attribute, also where layers override it (reading it plainly would then raise)."""
    return config.__dict__.get(config.attribute_map.get(attribute, attribute), default)


def _candidate_counts(config: PretrainedConfig) -> Iterator[tuple[str, int]]:
    text_config = config.get_text_config(decoder=True)
    for name in list(text_config.__dict__):
        value = global_value(text_config, name)
        if "expert" in name and isinstance(value, int) and not isinstance(value, bool) and value > 1:
            yield name, value


def _moving_axes(models: list[PreTrainedModel], count: int) -> dict[str, ExpertAxis]:
    shapes = [{name: tuple(tensor.shape) for name, tensor in named_tensors(model)} for model in models]
    axes = {}
    for name, shape in shapes[0].items():
        sizes = [each.get(name, ()) for each in shapes]
        for axis in range(len(shape)):
            affine = _affine([size[axis] for size in sizes if len(size) == len(shape)], count)
            if affine is not None:
                axes[name] = ExpertAxis(axis, *affine)
    return axes


def _moving_counts(models: list[PreTrainedModel], count: int) -> dict[str, list[ExpertCount]]:
    modules = [dict(model.named_modules()) for model in models]
    counts: dict[str, list[ExpertCount]] = {}
    for name, module in modules[0].items():
        for attribute, value in vars(module).items():
            if isinstance(value, int) and not isinstance(value, bool):
                values = [getattr(each[name], attribute, None) for each in modules if name in each]
                affine = _affine(values, count)
                if affine is not None:
                    counts.setdefault(name, []).append(ExpertCount(attribute, *affine))
    return counts


def _affine(values: list[Any], count: int) -> tuple[int, int] | None:
    """`(rows, extra)` if the values at count, 2 count and 3 count are `rows * experts + extra` and move."""
    if len(values) != 3 or any(value is None for value in values):
        return None
    step = values[1] - values[0]
    if step <= 0 or step % count or values[2] - values[1] != step:
        return None
    rows = step // count
    return rows, values[0] - rows * count


def named_tensors(model: nn.Module, remove_duplicate: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name; a tensor shared by two modules comes once, or under each of its names."""
    yield from model.named_parameters(remove_duplicate=remove_duplicate)
    yield from model.named_buffers(remove_duplicate=remove_duplicate)
