# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The way from final hidden states to logits, found by running the model once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    Attributes:
        linear: The output layer.
        vocabulary: Number of logits at a position.
        logit_scale: Factor on the logits.
        soft_cap: Logits become `soft_cap * tanh(logits / soft_cap)`.
    """

    linear: nn.Linear
    vocabulary: int
    logit_scale: float = 1.0
    soft_cap: float | None = None

    @property
    def weight(self) -> torch.Tensor:
        """Shape (vocabulary, hidden size); rows past the vocabulary are padding, which the model cuts off too."""
        return self.linear.weight[: self.vocabulary]

    @property
    def bias(self) -> torch.Tensor | None:
        """Shape (vocabulary,)."""
        return None if self.linear.bias is None else self.linear.bias[: self.vocabulary]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the positions: the product in the model's dtype, scale and soft cap in float32."""
        logits = nn.functional.linear(hidden.to(self.weight.device), self.weight, self.bias)
        if self.logit_scale != 1.0:
            logits = logits.float() * self.logit_scale
        if self.soft_cap is not None:
            logits = self.soft_cap * torch.tanh(logits.float() / self.soft_cap)
        return logits


@torch.no_grad()
def final_hidden_states(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What enters the output layer, shape (batch, tokens, hidden size): the model runs without that layer.

    Args:
        model: A model with an output layer.
        inputs: Inputs of its forward.

    Raises:
        ValueError: The model has no output layer, or does not use it.
    """
    return differentiable_hidden_states(model, inputs)


def differentiable_hidden_states(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The same as `final_hidden_states`, with gradients where they are enabled.

    Args:
        model: A model with an output layer.
        inputs: Inputs of its forward.

    Raises:
        ValueError: The model has no output layer, or does not use it.
    """
    linear = output_layer(model)
    seen: list[torch.Tensor] = []

    def idle_forward(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden)
        return hidden[..., :1]

    # Where the model is spread over devices, a hook of accelerate is there already.
    own = vars(linear).get("forward")
    vars(linear)["forward"] = idle_forward
    try:
        model(**inputs, use_cache=False)
    except (RuntimeError, ValueError):
        # After the layer the model only works on the logits, and that may fail for their shape.
        if not seen:
            raise
    finally:
        del vars(linear)["forward"]
        if own is not None:
            vars(linear)["forward"] = own
    if not seen:
        raise ValueError(f"{type(model).__name__} makes its logits without its output layer: not supported.")
    return seen[-1]


def output_layer(model: PreTrainedModel) -> nn.Linear:
    """The layer that makes logits, also where only a model inside the model knows it.

    Raises:
        ValueError: There is none.
    """
    for module in model.modules():
        linear = module.get_output_embeddings() if isinstance(module, PreTrainedModel) else None
        if linear is not None:
            return linear
    raise ValueError(f"{type(model).__name__} has no output layer: load it as a model for causal language modelling.")


@torch.no_grad()
def find_output_head(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> OutputHead:
    """Find how a model makes logits, and check it on some tokens.

    Args:
        model: A model with an output layer.
        inputs: Inputs of its forward; the first tokens of `input_ids`, shape (batch, tokens), are used.

    Raises:
        ValueError: The logits are NaN or infinite, or no known form gives them.
    """
    linear = output_layer(model)
    # Text alone and without a mask: what the tokens mean does not matter here, and padding must not hide these few.
    tokens = {"input_ids": inputs["input_ids"][:1, :_PROBE_LENGTH]}
    with torch.random.fork_rng(devices=[linear.weight.device] if linear.weight.is_cuda else []):
        # DiffusionGemma starts from random tokens.
        torch.manual_seed(0)
        hidden = final_hidden_states(model, tokens)
        torch.manual_seed(0)
        logits = model(**tokens, use_cache=False).logits.float()
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{type(model).__name__} gives NaN or infinite logits on the data. Check the weights, or load the model "
            "in another dtype (bfloat16 or float32 in place of float16)."
        )
    # The nearest of all: a high soft cap hardly changes small logits, so the first form that is close could be wrong.
    plain = OutputHead(linear, logits.shape[-1])
    forms = list(_known_forms(plain, hidden, logits, model.config.get_text_config(decoder=True)))
    errors = [float((head(hidden).float().to(logits.device) - logits).abs().max()) for head in forms]
    nearest = min(range(len(forms)), key=errors.__getitem__)
    if errors[nearest] <= 1e-2 * float(logits.abs().max()):
        return forms[nearest]
    raise ValueError(
        f"{type(model).__name__} changes its logits after the output layer in a way that is not known here (neither a "
        "scale nor a soft cap from its config)."
    )


def _known_forms(
    plain: OutputHead, hidden: torch.Tensor, logits: torch.Tensor, config: PretrainedConfig
) -> Iterator[OutputHead]:
    raw = plain(hidden).double().to(logits.device)
    numbers = {float(v) for k, v in config.__dict__.items() if "logit" in k and isinstance(v, (int, float)) and v > 0}
    scales = sorted({1.0, *numbers, *(1 / number for number in numbers)})
    for soft_cap in (None, *sorted(numbers)):
        for scale in (*scales, _fitted_scale(raw, logits.double(), soft_cap)):
            yield OutputHead(plain.linear, plain.vocabulary, scale, soft_cap)


def _fitted_scale(raw: torch.Tensor, logits: torch.Tensor, soft_cap: float | None) -> float:
    """The factor by least squares, for models that take it from something else than one number of the config."""
    if soft_cap is not None:
        far = logits.abs() > 0.9 * soft_cap
        logits = soft_cap * torch.atanh((logits / soft_cap).masked_fill(far, 0.0))
        raw = raw.masked_fill(far, 0.0)
    return float((raw * logits).sum() / (raw * raw).sum().clamp(min=1e-12))
