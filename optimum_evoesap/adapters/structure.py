# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where a model class keeps its experts, found by building it on the meta device with different expert counts.

No architecture is named here: what changes with the expert count belongs to the experts. A tensor axis that has
`rows * count + extra` entries is an expert axis; an integer attribute that changes the same way counts experts; a
list of modules that grows the same way holds them.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from ..heterogeneous.attributes import count_holder, expert_counts, per_layer_overrides
from .growth import ExpertAxis, ExpertCount, growing_lists, moving_axes, moving_counts, named_tensors


logger = logging.getLogger(__name__)


@dataclass
class Structure:
    """What changes in a model class with its expert count.

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
        """Entries of all tensors that change with the count."""
        shapes = dict(named_tensors(self.model, remove_duplicate=False))
        in_lists = sum(p.numel() for path in self.lists for p in self.model.get_submodule(path).parameters())
        return in_lists + sum(shapes[name].numel() for name in self.axes)


def discover_structure(model_class: type[PreTrainedModel], config: PretrainedConfig) -> Structure | None:
    """Find everything in `model_class` that has one entry per routed expert.

    Args:
        model_class: Class of the model, such as `OlmoeForCausalLM`.
        config: Its config; overrides of the expert count in `per_layer_config` are set aside.

    Returns:
        The structure, or `None` when no integer of the config changes a router and its experts (a dense model).

    Raises:
        ValueError: The class cannot be built with any other expert count, or one of its tensors has two expert axes.
    """
    found, failures = _try_counts(model_class, config)
    reasons = ", ".join(f"{name} ({type(error).__name__}: {error})" for name, error in failures.items())
    if not found:
        if failures:
            last = list(failures.values())[-1]
            raise ValueError(f"{model_class.__name__} cannot be built with other expert counts: {reasons}") from last
        return None
    # Counts of shared or zero experts can change router rows as well; the routed experts are by far the largest.
    chosen, tangled = max(found, key=lambda each: each[0].size)
    if failures:
        logger.warning(
            "%s cannot be built with another %s. %s is taken for the number of its routed experts; if that is wrong, "
            "do not prune this model.",
            model_class.__name__,
            reasons,
            chosen.attribute,
        )
    for name, axes in tangled.items():
        shape = tuple(dict(named_tensors(chosen.model, remove_duplicate=False))[name].shape)
        raise ValueError(
            f"{name} ({model_class.__name__}) of shape {shape} grows along its axes {' and '.join(map(str, axes))} "
            f"with {chosen.attribute}, and experts can be taken out of one axis of a tensor only: not supported. Let "
            "the model keep it as tensors with one axis of experts each."
        )
    return chosen


# A structure, and the axes of each of its tensors that has several.
_Found = tuple[Structure, dict[str, list[int]]]


def _try_counts(
    model_class: type[PreTrainedModel], config: PretrainedConfig
) -> tuple[list[_Found], dict[str, Exception]]:
    """What changes with each attribute that may count experts; and for the others why the class cannot be built."""
    found, failures = [], {}
    for attribute, count in expert_counts(config):
        try:
            structure = _structure(model_class, config, attribute, count)
        except Exception as error:  # configs and code from the Hub may raise anything; the caller reports it
            failures[attribute] = error
            continue
        if structure is not None:
            found.append(structure)
    return found, failures


def _structure(
    model_class: type[PreTrainedModel], config: PretrainedConfig, attribute: str, count: int
) -> _Found | None:
    models = [build_on_meta(model_class, with_expert_count(config, attribute, count * k)) for k in (1, 2, 3)]
    moving = moving_axes(models, count)
    axes = {name: found[-1] for name, found in moving.items()}
    lists = growing_lists(models, count)
    # A shared expert's width can follow an expert count too; only the router has exactly one row per expert
    # beside the much larger expert weights.
    if not any(item.rows == 1 for item in axes.values()) or len(axes) + len(lists) < 2:
        return None
    tangled = {name: [each.axis for each in found] for name, found in moving.items() if len(found) > 1}
    return Structure(attribute, axes, lists, moving_counts(models, count), models[0]), tangled


def build_on_meta(model_class: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """Build a model on the meta device, without memory for weights.

    Args:
        model_class: Class of the model.
        config: Its config.
    """
    # Meta tensors need no initialization, which takes minutes with thousands of small modules.
    with torch.device("meta"), no_init_weights():
        return model_class(config)


def with_expert_count(config: PretrainedConfig, attribute: str, count: int) -> PretrainedConfig:
    """A copy of a config with the same number of experts in every sparse layer; other per-layer overrides stay.

    Args:
        config: Config of a model.
        attribute: The attribute of its text config that counts experts.
        count: Experts in each sparse layer.
    """
    config = copy.deepcopy(config)
    text_config = config.get_text_config(decoder=True)
    overrides = per_layer_overrides(text_config)
    for layer in overrides.values():
        layer.pop(attribute, None)
    text_config.per_layer_config = {layer: values for layer, values in overrides.items() if values} or None
    setattr(count_holder(text_config, attribute), attribute, count)
    return config
