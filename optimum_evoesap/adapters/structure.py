# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where a model class keeps its experts, found by building it on the meta device with different expert counts.

No architecture is named here: what moves when the expert count moves belongs to the experts. A tensor axis that has
`rows * count + extra` entries is an expert axis; an integer attribute that moves the same way counts experts; a list
of modules that grows the same way holds them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from ..config_attributes import count_holder, expert_counts, per_layer_overrides


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
        axes: Expert axis by full tensor name; a tensor with several names comes under each.
        lists: Full names of the module lists with one module per expert.
        counts: Integer attributes by full module name.
        model: The model on the meta device at the config's own count, to look at shapes and modules.
    """

    attribute: str
    axes: dict[str, ExpertAxis]
    lists: list[str]
    counts: dict[str, list[ExpertCount]]
    model: PreTrainedModel

    @property
    def size(self) -> int:
        """Entries of all tensors that move with the count."""
        shapes = dict(named_tensors(self.model, remove_duplicate=False))
        in_lists = sum(p.numel() for path in self.lists for p in self.model.get_submodule(path).parameters())
        return in_lists + sum(shapes[name].numel() for name in self.axes)


def discover_structure(model_class: type[PreTrainedModel], config: PretrainedConfig) -> Structure | None:
    """Find everything in `model_class` that has one entry per routed expert.

    Args:
        model_class: Class of the model, such as `OlmoeForCausalLM`.
        config: Its config; overrides of the expert count in `per_layer_config` are set aside.

    Returns:
        The structure, or `None` when no integer of the config moves a router and its experts (a dense model).

    Raises:
        ValueError: The class cannot be built with any other expert count.
    """
    found, failure = [], None
    for attribute, count in expert_counts(config):
        try:
            found.append(_structure(model_class, config, attribute, count))
        except Exception as error:  # configs refuse in many ways, say a top-k above the expert count
            failure = error
    structures = [each for each in found if each is not None]
    if not structures and failure is not None:
        raise ValueError(f"{model_class.__name__} cannot be built with other expert counts: {failure}") from failure
    # Counts of shared or zero experts can move router rows as well; the routed experts are the bulk.
    return max(structures, key=lambda each: each.size, default=None)


def _structure(
    model_class: type[PreTrainedModel], config: PretrainedConfig, attribute: str, count: int
) -> Structure | None:
    models = [build_on_meta(model_class, with_expert_count(config, attribute, count * k)) for k in (1, 2, 3)]
    axes = _moving_axes(models, count)
    lists = _growing_lists(models, count)
    # A shared expert's width can follow an expert count too; only the router has exactly one row per expert
    # beside the much larger expert weights.
    if not any(item.rows == 1 for item in axes.values()) or len(axes) + len(lists) < 2:
        return None
    return Structure(attribute, axes, lists, _moving_counts(models, count), models[0])


def build_on_meta(model_class: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """Build a model without memory or weights."""
    # Values that are never there need no initialization; with thousands of small modules it takes minutes.
    with torch.device("meta"), no_init_weights():
        return model_class(config)


def with_expert_count(config: PretrainedConfig, attribute: str, count: int) -> PretrainedConfig:
    """A copy of `config` with `count` experts in every sparse layer; other per-layer overrides stay."""
    config = copy.deepcopy(config)
    text_config = config.get_text_config(decoder=True)
    overrides = per_layer_overrides(text_config)
    for layer in overrides.values():
        layer.pop(attribute, None)
    text_config.per_layer_config = {layer: values for layer, values in overrides.items() if values} or None
    setattr(count_holder(text_config, attribute), attribute, count)
    return config


def _moving_axes(models: list[PreTrainedModel], count: int) -> dict[str, ExpertAxis]:
    shapes = [{n: tuple(t.shape) for n, t in named_tensors(model, remove_duplicate=False)} for model in models]
    axes = {}
    for name, shape in shapes[0].items():
        sizes = [each.get(name, ()) for each in shapes]
        for axis in range(len(shape)):
            affine = _affine([size[axis] for size in sizes if len(size) == len(shape)], count)
            if affine is not None:
                axes[name] = ExpertAxis(axis, *affine)
    return axes


def _growing_lists(models: list[PreTrainedModel], count: int) -> list[str]:
    lengths = [{n: len(m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList)} for model in models]
    return [name for name in lengths[0] if _affine([each.get(name) for each in lengths], count) == (1, 0)]


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
