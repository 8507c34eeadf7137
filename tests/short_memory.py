# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Windows for a model, and a model that runs out of memory."""

from __future__ import annotations

import torch

from tests.model_matrix import random_tokens


def batches_of(windows: int, at_once: int, length: int = 16) -> list[dict[str, torch.Tensor]]:
    tokens = random_tokens(windows, length)
    return [{"input_ids": part, "labels": part} for part in tokens.split(at_once)]


def limit_memory(model, most_windows: int) -> list[int]:
    """Let the model run out of memory above so many windows, as a device would; returns the windows of each call."""
    calls = []

    def check(module, args, kwargs):
        calls.append(kwargs["input_ids"].shape[0])
        if calls[-1] > most_windows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(check, with_kwargs=True)
    return calls
