# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The way from final hidden states to logits, found by running the model once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


# Tokens that the model is tried on: enough to tell forms apart, few enough for any vocabulary.
_PROBE_LENGTH = 32


@dataclass
class OutputHead:
    """The output layer of a language model, with the scale or soft cap that some architectures add.

    Calling it turns hidden states of shape (positions, hidden size) into logits (positions, vocabulary).
    """

    linear: nn.Linear
    logit_scale: float = 1.0
    soft_cap: float | None = None

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the positions."""
        logits = self.linear(hidden)
        if self.logit_scale != 1.0:
            logits = logits * self.logit_scale
        if self.soft_cap is not None:
            logits = self.soft_cap * torch.tanh(logits / self.soft_cap)
        return logits


@torch.no_grad()
def find_output_head(model: PreTrainedModel, input_ids: torch.Tensor) -> OutputHead:
    """Find how `model` makes logits, and prove it on the first tokens of `input_ids`, shape (batch, tokens).

    Raises:
        ValueError: The logits are NaN or infinite, or no known form gives them.
    """
    linear = model.get_output_embeddings()
    if linear is None:
        raise ValueError(
            f"{type(model).__name__} has no output layer: load it as a model for causal language modelling."
        )
    # Without a mask: what the tokens mean does not matter here, and padding must not hide these few.
    input_ids = input_ids[:1, :_PROBE_LENGTH]
    hidden = model.base_model(input_ids=input_ids, use_cache=False)[0]
    logits = model(input_ids=input_ids, use_cache=False).logits.float()
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{type(model).__name__} gives NaN or infinite logits on the data. Check the weights, or load the model "
            "in another dtype (bfloat16 or float32 in place of float16)."
        )
    # The nearest of all: a high soft cap hardly shows on small logits, so the first form that is close could be wrong.
    forms = list(_known_forms(linear, model.config.get_text_config(decoder=True)))
    errors = [float((head(hidden).float().to(logits.device) - logits).abs().max()) for head in forms]
    nearest = min(range(len(forms)), key=errors.__getitem__)
    if errors[nearest] <= 1e-2 * float(logits.abs().max()):
        return forms[nearest]
    raise ValueError(
        f"{type(model).__name__} changes its logits after the output layer in a way that is not known here (neither a "
        "scale nor a soft cap from its config)."
    )


def _known_forms(linear: nn.Linear, config: PretrainedConfig) -> Iterator[OutputHead]:
    yield OutputHead(linear)
    numbers = {v for k, v in config.__dict__.items() if "logit" in k and isinstance(v, (int, float)) and v > 0}
    for number in sorted(numbers):
        yield OutputHead(linear, soft_cap=float(number))
        yield OutputHead(linear, logit_scale=float(number))
        yield OutputHead(linear, logit_scale=1 / float(number))
