# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Llama 4: every expert gets every token, scaled by its gate weight, which is zero where it was not chosen.

Source: `Llama4TextMoe` in transformers/models/llama4/modeling_llama4.py. The experts module takes one tensor,
(experts x tokens, hidden size), expert by expert.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import nn

from ..block import MoEBlock, Record, Routes, post_hook, pre_hook, register_adapter


@register_adapter
class DenseExperts(MoEBlock):
    """Experts that all run on all tokens, whose inputs carry the gate weight."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """A module with a three-axis tensor and a forward that takes hidden states alone.

        Args:
            owner: The module, on the meta device.
            name: Name of the tensor.
        """
        value = getattr(owner, name)
        names = list(inspect.signature(owner.forward).parameters)
        return isinstance(value, torch.Tensor) and value.ndim == 3 and names == ["hidden_states"]

    def restrict(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Give removed experts zeros as input, and return only the outputs of the kept ones.

        Args:
            kept: Experts that stay, by their index now.
            undo: Gets what undoes it.
        """
        num_experts, chosen = self.num_experts, list(kept)

        def pad(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            hidden = _only_tensor(args, kwargs)
            by_expert = hidden.view(len(chosen), -1, hidden.shape[-1])
            padded = by_expert.new_zeros(num_experts, *by_expert.shape[1:])
            padded[chosen] = by_expert
            return (padded.flatten(0, 1),), {}

        def select(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
            return output.view(num_experts, -1, output.shape[-1])[chosen].flatten(0, 1)

        for experts in self.experts:
            undo.enter_context(pre_hook(experts, pad))
            undo.enter_context(post_hook(experts, select))

    def observe(self, record: Record, undo: ExitStack) -> None:
        """Read the outputs as they come, and the gate weights that the router returned.

        The weight is applied inside the expert here, f(weight x token), and the output is added to the hidden state
        as it is. So the norm of a route is that of f(weight x token) divided by the weight.

        Args:
            record: Called with the routes of each call.
            undo: Gets what ends it.
        """
        for experts, router in zip(self.experts, self._routers()):
            scores: list[torch.Tensor] = []
            undo.enter_context(post_hook(router, _keep_scores(scores)))
            undo.enter_context(post_hook(experts, _read_outputs(scores, record)))

    def weigh(self, factors: torch.Tensor, undo: ExitStack) -> None:
        """Multiply the outputs, which are added as they are; at the inputs a factor would go through the expert.

        Args:
            factors: Shape (experts,).
            undo: Gets what ends it.
        """

        def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
            by_expert = output.view(len(factors), -1, output.shape[-1])
            return (by_expert * factors.to(output)[:, None, None]).flatten(0, 1)

        for experts in self.experts:
            undo.enter_context(post_hook(experts, hook))

    def _routers(self) -> Sequence[nn.Module]:
        return self.router_tensors[0].owners


def _only_tensor(args: tuple, kwargs: dict) -> torch.Tensor:
    return next(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))


def _keep_scores(scores: list[torch.Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        scores.append(output[0])

    return hook


def _read_outputs(scores: list[torch.Tensor], record: Record) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        weights = scores.pop()
        tokens, experts = weights.nonzero(as_tuple=True)
        chosen = weights[tokens, experts]
        added = torch.linalg.vector_norm(output.view(weights.shape[1], weights.shape[0], -1), dim=-1).T
        norms = added[tokens, experts].float() / chosen.float()
        record(Routes(experts, chosen, norms, tokens, weights.shape[0]))

    return hook
