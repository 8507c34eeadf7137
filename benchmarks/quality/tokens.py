# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a piece of work costs, whoever does it: tokens that went through decoder layers, and seconds."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from optimum_evoesap.models.sparse_model import SparseModel


class Cost:
    """Counts, while it is entered, the tokens that each decoder layer really worked on, as shares of the whole model.

    A layer whose output is taken from before does not call its attention, so that is what is counted. A forward pass
    that is differentiated counts as three.

    Args:
        sparse_model: The model.

    Attributes:
        tokens: Tokens through the whole model; through some of its layers they count in part.
        seconds: Time that passed.
    """

    def __init__(self, sparse_model: SparseModel):
        model = sparse_model.model
        self._attentions = [module for name, module in model.named_modules() if name.endswith(".self_attn")]
        if len(self._attentions) != model.config.num_hidden_layers:
            raise ValueError(f"{type(model).__name__} has {len(self._attentions)} modules that are named self_attn.")
        self.tokens, self.seconds = 0.0, 0.0

    def __enter__(self) -> Cost:
        self._handles = [each.register_forward_pre_hook(self._count, with_kwargs=True) for each in self._attentions]
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self._start
        for handle in self._handles:
            handle.remove()

    def _count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        times = 3 if torch.is_grad_enabled() and hidden.requires_grad else 1
        self.tokens += times * hidden.shape[:-1].numel() / len(self._attentions)
