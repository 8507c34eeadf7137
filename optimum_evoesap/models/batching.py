# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How many windows go through the model at once: what keeps a GPU busy, and less where its memory is short."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from ..configuration import EvoESAPConfig


logger = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]

# Tokens in one forward pass with which a GPU is busy; twice as many gain 3% more (benchmarks/NOTES.md).
_TOKENS_ON_GPU = 16384
_WINDOWS_ON_CPU = 4


def batch_size_for(config: EvoESAPConfig, device: torch.device) -> int:
    """Windows in one forward pass: what the config says, else what suits the device."""
    if config.batch_size is not None:
        return config.batch_size
    return max(1, _TOKENS_ON_GPU // config.sequence_length) if device.type == "cuda" else _WINDOWS_ON_CPU


def smaller_batch_size(batches: Sequence[Batch], error: torch.OutOfMemoryError) -> int:
    """Half of the windows at once, after the device has run out of memory.

    Args:
        batches: Model inputs; a window with images and the like is a batch of its own already.
        error: What the device said.

    Raises:
        torch.OutOfMemoryError: `error`, where each batch is a single window.
    """
    largest = windows_at_once(batches)
    if largest < 2:
        raise error
    half = (largest + 1) // 2
    logger.warning(
        "%d windows at once do not fit into the memory of the device; going on with %d (a new run with batch_size=%d "
        "begins so).",
        largest,
        half,
        half,
    )
    return half


def in_batches_of(batches: Sequence[Batch], size: int) -> list[Batch]:
    """The same windows in the same order, at most `size` at once."""
    return [part for batch in batches for part in _split(batch, size)]


def windows_at_once(batches: Sequence[Batch]) -> int:
    """Windows of the largest batch."""
    return max((_num_windows(batch) for batch in batches), default=0)


def _num_windows(batch: Batch) -> int:
    return batch["input_ids"].shape[0]


def _split(batch: Batch, size: int) -> list[Batch]:
    if _num_windows(batch) <= size:
        return [batch]
    count = _num_windows(batch)
    parts = [slice(start, start + size) for start in range(0, count, size)]
    # A tensor of another first axis is for all windows alike.
    return [
        {name: tensor[part] if len(tensor) == count else tensor for name, tensor in batch.items()} for part in parts
    ]
