# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What pruning would do to a model, from its config alone: no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from ..adapters import MoELayer, find_moe_layers
from ..models.loading import load_bare_model
from ..models.quantization import find_quantization
from ..models.size import checkpoint_size, item_size
from ..search.allocation import AllocationSpace, budget_of


SPARSITIES = (0.25, 0.5, 0.75)


@dataclass
class LayerInspection:
    """One sparse layer.

    Attributes:
        index: Index of the decoder layer.
        num_experts: Routed experts.
        top_k: Experts that a token is routed to.
        num_groups: Groups of experts from each of which as many go: those of a group-limited router, and the blocks
            of a layer that has several under one count; otherwise 1.
        min_kept: Fewest experts that pruning must leave.
        parameters_per_expert: Parameters that go with one expert, its share of the router included.
        unprunable_reason: Why the layer must be left whole; empty where it can be pruned.
    """

    index: int
    num_experts: int
    top_k: int
    num_groups: int
    min_kept: int
    parameters_per_expert: int
    unprunable_reason: str = ""


@dataclass
class PruningOutlook:
    """What the uniform allocation of a sparsity would leave; the same as any other if all sparse layers are equal.

    Attributes:
        sparsity: Removed experts over all routed experts, as achieved.
        removed_experts: Experts that go, from all layers together.
        parameters: Parameters that stay.
        size_in_bytes: Size of the checkpoint that stays.
    """

    sparsity: float
    removed_experts: int
    parameters: int
    size_in_bytes: int


@dataclass
class ModelInspection:
    """A sparse model, as pruning sees it.

    Attributes:
        model: Where it came from: a path, a Hub id, or the class of a model made in memory.
        model_type: The `model_type` of its config.
        dtype: Number format of the checkpoint, by its config (float32 where that says nothing).
        quantization: Method by which the checkpoint is quantized, if it is; sizes are those without it.
        parameters: Parameters of the model.
        size_in_bytes: Size of the checkpoint: parameters and saved buffers.
        expert_parameters: Parameters of all routed experts.
        layers: The sparse layers, in order.
        largest_sparsity: Largest sparsity that pruning can reach.
        outlooks: What each of the usual sparsities that can be reached, and the largest, would leave.
    """

    model: str
    model_type: str
    dtype: str
    quantization: str | None
    parameters: int
    size_in_bytes: int
    expert_parameters: int
    layers: list[LayerInspection]
    largest_sparsity: float
    outlooks: list[PruningOutlook]

    @property
    def num_experts(self) -> int:
        """Routed experts of all layers."""
        return sum(layer.num_experts for layer in self.layers)

    @property
    def expert_share(self) -> float:
        """Share of the parameters that lies in routed experts."""
        return self.expert_parameters / self.parameters


def inspect_model(model_or_path: str | Path | PreTrainedModel, **kwargs: Any) -> ModelInspection:
    """Look at the sparse layers of a model and at what pruning them would leave.

    Args:
        model_or_path: Folder, Hub id, or a model; of the first two only the config is read.
        **kwargs: Where the config comes from: `revision`, `token`, `trust_remote_code`, `cache_dir`, ...

    Raises:
        ValueError: The model is dense, or no causal language model that transformers knows.
        OSError: There is no config.

    Example:
        ```python
        >>> from optimum_evoesap import inspect_model

        >>> inspect_model("allenai/OLMoE-1B-7B-0125-Instruct").expert_share
        ```
    """
    if isinstance(model_or_path, PreTrainedModel):
        model, name = model_or_path, type(model_or_path).__name__
    else:
        name = str(model_or_path)
        model = load_bare_model(name, **kwargs)
    layers = find_moe_layers(model)
    dtype = _checkpoint_dtype(model.config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = checkpoint_size(model, dtype)
    spaces = _spaces(layers)
    quantization = find_quantization(model.config)
    return ModelInspection(
        model=name,
        model_type=model.config.model_type,
        dtype=str(dtype).removeprefix("torch."),
        quantization=quantization.method if quantization else None,
        parameters=parameters,
        size_in_bytes=size,
        expert_parameters=sum(layer.expert_parameters for layer in layers),
        layers=[_inspect_layer(layer) for layer in layers],
        largest_sparsity=sum(spaces[-1].max_removed) / sum(spaces[-1].num_experts),
        outlooks=[_outlook(layers, space, parameters, size, dtype) for space in spaces if space.budget],
    )


def _checkpoint_dtype(config: PretrainedConfig) -> torch.dtype:
    dtype = config.dtype or config.get_text_config(decoder=True).dtype or torch.float32
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype


def _spaces(layers: Sequence[MoELayer]) -> list[AllocationSpace]:
    """The allocations of the usual sparsities that can be reached; last those of the largest one."""
    num_experts = [layer.num_experts for layer in layers]
    least = [layer.min_kept for layer in layers]
    unit = max(layer.num_groups for layer in layers)
    limits = AllocationSpace.from_limits(num_experts, least, 0, unit).max_removed
    spaces = []
    for sparsity in SPARSITIES:
        if 0 < budget_of(sparsity, num_experts, unit) < sum(limits):
            spaces.append(AllocationSpace.from_sparsity(sparsity, num_experts, least, unit))
    return [*spaces, AllocationSpace.from_limits(num_experts, least, sum(limits), unit)]


def _inspect_layer(layer: MoELayer) -> LayerInspection:
    per_expert = [pair for part in layer.blocks[0].parts for pair in part.tensors_per_expert()]
    parameters = sum(values for tensor, values in per_expert if isinstance(tensor, torch.nn.Parameter))
    numbers = (layer.index, layer.num_experts, layer.top_k, layer.num_groups, layer.min_kept, parameters)
    return LayerInspection(*numbers, layer.unprunable_reason)


def _outlook(
    layers: Sequence[MoELayer], space: AllocationSpace, parameters: int, size: int, dtype: torch.dtype
) -> PruningOutlook:
    for layer, removed in zip(layers, space.uniform()):
        for block in layer.blocks:
            for tensor, values in (pair for part in block.parts for pair in part.tensors_per_expert()):
                gone = removed // len(layer.blocks) * values
                size -= gone * item_size(tensor, dtype)
                if isinstance(tensor, torch.nn.Parameter):
                    parameters -= gone
    return PruningOutlook(space.budget / sum(space.num_experts), space.budget, parameters, size)
