# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The experts implementation `"evoesap"` for transformers: Triton around two grouped products, and on Hopper in them.

transformers' `grouped_mm` spends most of its time between the two products. Here tokens are gathered and outputs are
weighted and summed in one pass over memory each; the activation takes one too, or is part of the first product. See
benchmarks/NOTES.md.
Every model whose experts follow transformers' interface can use it: `model.set_experts_implementation("evoesap")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from transformers import PreTrainedModel
from transformers.integrations import moe

from ..implementation import is_triton_available
from .names import NAME, ExpertsModule


# The implementation that the fused forward replaces in calibration and search, and that runs where it cannot.
_STANDARD = "grouped_mm"
_NORMS_LISTENER = "_evoesap_norms_listener"


# Called with the indices and weights of the router and the norm of each route's output, all of shape (tokens, top-k).
NormsListener = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]


def fused_experts_forward(
    self: ExpertsModule, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Run an experts module; where the kernels cannot, with transformers' `grouped_mm`.

    Args:
        self: The experts module.
        hidden_states: Shape (tokens, hidden size).
        top_k_index: Expert of each route, shape (tokens, top-k); numbers past the last expert stand for none.
        top_k_weights: Gate weight of each route, shape (tokens, top-k).

    Returns:
        Shape (tokens, hidden size).

    Raises:
        ValueError: The kernels cannot run it, and the norms of its outputs are wanted.
    """
    listener = self.__dict__.get(_NORMS_LISTENER)
    if not _can_fuse(self, hidden_states, top_k_weights):
        if listener is not None:
            raise ValueError(
                f"{type(self).__name__} is called with hidden states {tuple(hidden_states.shape)} on "
                f"{hidden_states.device} in a way that has no fused form, so its outputs cannot be observed. Load the "
                "model with experts_implementation='eager'."
            )
        return moe.ALL_EXPERTS_FUNCTIONS[_STANDARD](self, hidden_states, top_k_index, top_k_weights)
    combined, norms = fused_experts(self, hidden_states, top_k_index, top_k_weights, with_norms=listener is not None)
    if listener is not None:
        listener(top_k_index, top_k_weights, norms)
    return combined


@torch.no_grad()
def fused_experts(
    experts: ExpertsModule,
    hidden: torch.Tensor,
    indices: torch.Tensor,
    weights: torch.Tensor,
    with_norms: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The fused forward itself, and the L2 norm of each route's output; nothing waits for the device.

    Args:
        experts: The experts module.
        hidden: Shape (tokens, hidden size).
        indices: Expert of each route, shape (tokens, top-k).
        weights: Gate weight of each route, shape (tokens, top-k).
        with_norms: Compute the norms.

    Returns:
        Hidden states of shape (tokens, hidden size), and norms of shape (tokens, top-k) in float32; empty without
        `with_norms`.
    """
    from .launch import combine
    from .outputs import outputs_of_routes

    num_experts = experts.num_experts
    # Any number outside the experts stands for none; from here on that is `num_experts` alone.
    indices = indices.clamp(-1, num_experts).remainder(num_experts + 1)
    outputs, places = outputs_of_routes(experts, hidden, indices)
    if getattr(experts, "has_post_expert_norm", False):
        outputs = experts.post_expert_norm(outputs)
    return combine(outputs, places, indices, weights, num_experts, with_norms, hidden.dtype)


def _can_fuse(experts: ExpertsModule, hidden: torch.Tensor, weights: torch.Tensor) -> bool:
    # Parameters of modules inside count too: PEFT puts weights behind parametrizations.
    given = (hidden, weights, *experts.parameters())
    needs_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    return not needs_gradient and hidden.is_cuda and hidden.dim() == 2 and supports(experts)


def supports(experts: ExpertsModule) -> bool:
    """Whether this module runs fused: one of transformers' interface, in bfloat16 on an NVIDIA GPU."""
    weight = getattr(experts, "down_proj", None)
    return (
        isinstance(weight, torch.Tensor)
        and hasattr(experts, "has_gate")
        and not getattr(experts, "_is_expert_parallel", False)
        and weight.is_cuda
        and weight.dtype == torch.bfloat16
        and torch.version.hip is None
        and is_triton_available()
    )


@contextmanager
def fused_experts_where_possible(model: PreTrainedModel) -> Iterator[None]:
    """A context in which experts that would run with transformers' default, `grouped_mm`, run fused.

    Another implementation that the user has chosen stays.
    """
    with ExitStack() as undo:
        configs = {id(part.config): part.config for part in model.modules() if isinstance(part, PreTrainedModel)}
        if any(supports(module) for module in model.modules()):
            for config in configs.values():
                if config._experts_implementation == _STANDARD:
                    undo.callback(setattr, config, "_experts_implementation_internal", _STANDARD)
                    config._experts_implementation_internal = NAME
        yield


def runs_fused(experts: ExpertsModule) -> bool:
    """Whether the next call of this experts module runs fused."""
    return hasattr(experts, "config") and experts.config._experts_implementation == NAME and supports(experts)


@contextmanager
def norms_listener(experts: ExpertsModule, listener: NormsListener) -> Iterator[None]:
    """A context in which the fused forward of a module gives the norms of its outputs to a function.

    Args:
        experts: The experts module.
        listener: Called in each forward with indices, weights and norms, each of shape (tokens, top-k).
    """
    before = experts.__dict__.get(_NORMS_LISTENER)
    experts.__dict__[_NORMS_LISTENER] = listener
    try:
        yield
    finally:
        if before is None:
            experts.__dict__.pop(_NORMS_LISTENER, None)
        else:
            experts.__dict__[_NORMS_LISTENER] = before
