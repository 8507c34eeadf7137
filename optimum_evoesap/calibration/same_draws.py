# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The same random numbers for each batch, whatever ran before it: DiffusionGemma starts from random tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel


@contextmanager
def same_draws(model: PreTrainedModel, seed: int = 0) -> Iterator[None]:
    """A context in which a model draws from a seed; afterwards everybody draws as if it had drawn nothing.

    Args:
        model: The model.
        seed: The seed.
    """
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
