# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How large a model is, and in what numbers."""

from __future__ import annotations

from transformers import PreTrainedModel


def model_size(model: PreTrainedModel) -> tuple[int, int]:
    """Number of parameters, and bytes of parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(p.numel() for p in model.parameters()), sum(t.numel() * t.element_size() for t in tensors)


def dtype_name(model: PreTrainedModel) -> str:
    """Number format of the weights, such as `bfloat16`."""
    return str(model.dtype).removeprefix("torch.")
