# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How large a model is, its checkpoint, and what goes from that with an expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ..adapters import MoELayer


def model_size(model: PreTrainedModel) -> tuple[int, int]:
    """Number of parameters, and bytes of parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(p.numel() for p in model.parameters()), sum(t.numel() * t.element_size() for t in tensors)


@dataclass(frozen=True)
class Sizes:
    """How large a model is.

    Attributes:
        parameters: Number of parameters.
        size_in_bytes: Bytes of parameters and buffers.
        checkpoint_bytes: Bytes of all tensors of its checkpoint.
    """

    parameters: int
    size_in_bytes: int
    checkpoint_bytes: int


def sizes_without(model: PreTrainedModel, layers: Sequence[MoELayer], removed: Sequence[int]) -> Sizes:
    """How large a model will be that loses experts, before they are removed.

    Args:
        model: The model, still whole.
        layers: Its sparse layers.
        removed: Experts that each of them loses.
    """
    saved = _saved(model)
    parameters, size = model_size(model)
    checkpoint = checkpoint_size(model)
    for layer, count in zip(layers, removed):
        # Blocks of a layer lose as many experts as each other.
        in_each = count // len(layer.blocks)
        for tensor, values in (pair for part in layer.parts for pair in part.tensors_per_expert()):
            gone = in_each * values
            parameters -= gone if isinstance(tensor, nn.Parameter) else 0
            size -= gone * tensor.element_size()
            checkpoint -= gone * tensor.element_size() if id(tensor) in saved else 0
    return Sizes(parameters, size, checkpoint)


def dtype_name(model: PreTrainedModel) -> str:
    """Number format of the weights, such as `bfloat16`."""
    return str(model.dtype).removeprefix("torch.")


def checkpoint_size(model: PreTrainedModel, dtype: torch.dtype | None = None) -> int:
    """Bytes of all tensors of the checkpoint of a model; one that modules share is written once.

    The headers of the files, which name the tensors, come to that: about 100 bytes a tensor.

    Args:
        model: The model; also one on the meta device.
        dtype: Number format that it will have; by default the one that each tensor has.
    """
    return sum(tensor.numel() * item_size(tensor, dtype) for tensor in _saved(model).values())


def removable_sizes(model: PreTrainedModel, layers: Sequence[MoELayer]) -> list[int]:
    """For each sparse layer, the bytes of the checkpoint that go with one expert from each of its blocks.

    Args:
        model: The model.
        layers: Its sparse layers.
    """
    saved = _saved(model)
    sizes = []
    for layer in layers:
        per_expert = [pair for part in layer.parts for pair in part.tensors_per_expert()]
        sizes.append(sum(values * tensor.element_size() for tensor, values in per_expert if id(tensor) in saved))
    return sizes


def item_size(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> int:
    """Bytes of one value.

    Args:
        tensor: The tensor.
        dtype: Number format of floating-point numbers; by default that of the tensor.
    """
    return dtype.itemsize if dtype is not None and tensor.is_floating_point() else tensor.element_size()


def _saved(model: nn.Module) -> dict[int, torch.Tensor]:
    """The tensors of the checkpoint, each once, by their `id`."""
    left_out = getattr(model, "_keys_to_ignore_on_save", None) or ()
    named = {name: each for name, each in model.state_dict(keep_vars=True).items() if name not in left_out}
    return {id(each): each for each in named.values() if isinstance(each, torch.Tensor)}
