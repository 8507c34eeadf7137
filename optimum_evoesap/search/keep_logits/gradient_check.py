# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether gradients reach the experts of a model, found on a few tokens before any long work."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

import torch

from ...adapters import MoELayer
from ...models.frozen import frozen
from ...models.output_head import differentiable_hidden_states
from ...models.recomputed import recomputed
from ...models.sparse_model import SparseModel


_NUM_TOKENS = 32
# What is computed again may differ by this share of the largest gradient.
_LARGEST_DRIFT = 1e-2
_REMEDY = "Choose a strategy that trains no keep logits, such as allocation='guided'."


def check_gradients(sparse_model: SparseModel, input_ids: torch.Tensor) -> None:
    """Run a model forwards and backwards on some tokens.

    Args:
        sparse_model: The unpruned model.
        input_ids: Text, shape (windows, tokens); the first tokens are taken.

    Raises:
        ValueError: No gradient, or one that is not finite, reaches the experts of some layer that can lose some.
    """
    name = type(sparse_model.model).__name__
    layers = [layer for layer in sparse_model.layers if not layer.unprunable_reason]
    try:
        gradients = _gradients(sparse_model, layers, input_ids)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise ValueError(f"{name} cannot run backwards, as keep logits need it to: {error} {_REMEDY}") from error
    absent = [layer.index for layer, each in zip(layers, gradients) if each is None]
    if absent:
        raise ValueError(f"No gradient reaches the experts of the layers {absent} of {name}. {_REMEDY}")
    for layer, each in zip(layers, gradients):
        if each is not None and not torch.isfinite(each).all():
            raise ValueError(
                f"The gradients of the experts of layer {layer.index} of {name} are NaN or infinite. Check the "
                f"weights, or load the model in another dtype (bfloat16 or float32 in place of float16). {_REMEDY}"
            )


def can_recompute(sparse_model: SparseModel, input_ids: torch.Tensor) -> bool:
    """Whether the gradients are the same where sparse layers are computed again in the backward pass.

    They are not where layers write into something that others read.

    Args:
        sparse_model: The unpruned model.
        input_ids: As in `check_gradients`.
    """
    layers = [layer for layer in sparse_model.layers if not layer.unprunable_reason]
    expected = _gradients(sparse_model, layers, input_ids)
    try:
        with recomputed(decoder_layers(sparse_model)):
            found = _gradients(sparse_model, layers, input_ids)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError, KeyError, TypeError):
        return False
    pairs = [(a, b) for a, b in zip(expected, found) if a is not None]
    largest = max(float(a.abs().max()) for a, _ in pairs)
    return all(b is not None and float((a - b).abs().max()) <= _LARGEST_DRIFT * largest for a, b in pairs)


def decoder_layers(sparse_model: SparseModel) -> list[torch.nn.Module]:
    """The decoder layers with experts, each once.

    Args:
        sparse_model: The model.
    """
    modules = [module for layer in sparse_model.layers for module in layer.modules]
    return list({id(module): module for module in modules}.values())


def _gradients(
    sparse_model: SparseModel, layers: Iterable[MoELayer], input_ids: torch.Tensor
) -> list[torch.Tensor | None]:
    """Gradients of all experts' gate weights, as factors, of some number that the final hidden states make."""
    model, tokens = sparse_model.model, input_ids[:1, :_NUM_TOKENS]
    factors = [torch.ones(layer.num_experts, requires_grad=True) for layer in layers]
    devices = [tokens.device] if tokens.is_cuda else []
    with frozen(model), ExitStack() as undo, torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        for layer, each in zip(layers, factors):
            layer.weigh(each, undo)
        hidden = differentiable_hidden_states(model, {"input_ids": tokens})
        if not hidden.requires_grad:
            return [None for _ in factors]
        # By random numbers: the norm at the end gives hidden states of one size, whatever the experts do.
        value = (hidden.float() * torch.randn(hidden.shape, device="cpu").to(hidden.device)).sum()
        return list(torch.autograd.grad(value, factors, allow_unused=True))
