# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The common case: one module holds all experts and is called with hidden states, expert indices and gate weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import nn

from ...kernels.experts.fused_experts import NormsListener, norms_listener, runs_fused
from ..block import MoEBlock, Record, Routes, post_hook, pre_hook
from ..experts_call import ExpertsCall


# Sums of gate weights that differ by no more than this share are the same, but for the rounding of bfloat16.
_LARGEST_SPREAD = 2e-2
_LEAST_LEFT = 1e-3
# Power of the factor by which the weights that are left to a token would grow to the old sum. Held-out ESAP of what
# keep logits find with 0, with this, and with 1: Qwen3-MoE, 32 steps, two seeds .904 and .920, .932 and .939, .915 and
# .919; DeepSeek-V3, 32 steps .854, .837, .864, 128 steps .892, .913, not run.
_PART_GIVEN = 0.5


class RoutedExperts(MoEBlock):
    """Experts that are told for each token which of them work on it, and with which weight."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """True for all experts; this class is tried last.

        Args:
            owner: The module, on the meta device.
            name: Name of a tensor of it.
        """
        return True

    def restrict(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Map the indices of the sliced router back to those of the whole experts, just before they run.

        Args:
            kept: Experts that stay, by their index now.
            undo: Gets what undoes it.
        """
        extra = max((tensor.axis.extra for tensor in self.router_tensors), default=0)
        original = [*kept, *range(self.num_experts, self.num_experts + extra)]
        device = self.expert_parts[0].tensors_per_expert()[0][0].device
        hook = _map_back(torch.tensor(original, device=device))
        for experts in self.experts:
            undo.enter_context(pre_hook(experts, hook))

    def observe(self, record: Record, undo: ExitStack) -> None:
        """Hand each token to its experts as top-k tokens with one expert and weight one.

        The outputs that come back are those of the experts themselves. Their norms are taken, then they are weighted
        and summed as the module would have done. So the indices and weights are the router's own, and no expert runs
        on a token not routed to it. The fused implementation gives the norms by itself.

        Args:
            record: Called with the routes of each call.
            undo: Gets what ends it.
        """
        for experts in self.experts:
            if runs_fused(experts):
                undo.enter_context(pre_hook(experts, self._check_top_k))
                undo.enter_context(norms_listener(experts, _read_norms(record)))
                continue
            calls: list[ExpertsCall] = []
            undo.enter_context(pre_hook(experts, self._one_route_a_token(calls)))
            undo.enter_context(post_hook(experts, _sum_of_routes(calls, record)))

    def weigh(self, factors: torch.Tensor, undo: ExitStack) -> None:
        """Multiply the gate weights that the router gives; those for no expert stay.

        Where they sum to the same for every token, a router without an expert would give its share to others. So part
        of what a token loses goes to the experts that it has left.

        Args:
            factors: Shape (experts,).
            undo: Gets what ends it.
        """

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            call = ExpertsCall(args, kwargs)
            is_expert = (call.indices >= 0) & (call.indices < len(factors))
            chosen = factors.to(call.weights)[torch.where(is_expert, call.indices, 0).long()]
            weighed = call.weights * torch.where(is_expert, chosen, 1.0)
            return call.replace(call.indices, weights=weighed * _share_of_lost(call.weights, weighed))

        for experts in self.experts:
            undo.enter_context(pre_hook(experts, hook))

    def _one_route_a_token(self, calls: list[ExpertsCall]) -> Callable[..., tuple[tuple, dict]]:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            self._check_top_k(module, args, kwargs)
            call = ExpertsCall(args, kwargs)
            calls.append(call)
            indices, weights = self.single_routes(call)
            return call.replace(indices, call.hidden.flatten(0, -2).repeat_interleave(self.top_k, dim=0), weights)

        return hook

    def _check_top_k(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        num_routes = ExpertsCall(args, kwargs).indices.shape[-1]
        if num_routes != self.top_k:
            # Without a run on the meta device the number was read from an attribute.
            raise ValueError(
                f"{self.path} works on {num_routes} experts a token, not on {self.top_k} as its attributes said: "
                "not supported. Write an adapter with register_adapter."
            )

    @staticmethod
    def single_routes(call: ExpertsCall) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices and weights of a call with one route a token, each of weight one; shape (routes, 1)."""
        return call.indices.reshape(-1, 1), torch.ones_like(call.weights).reshape(-1, 1)


def _share_of_lost(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """What the weights of each token are multiplied by, so that part of what is lost is given to the others."""
    whole, left = (each.float().sum(dim=-1, keepdim=True) for each in (before, after))
    is_same = whole.max() - whole.min() <= _LARGEST_SPREAD * whole.max()
    applies = is_same & (whole > 0) & (left > _LEAST_LEFT * whole)
    # Elsewhere the quotient is one, so that its gradient is neither infinite nor NaN.
    quotient = torch.where(applies, whole, 1.0) / torch.where(applies, left, 1.0)
    return (quotient**_PART_GIVEN).to(after.dtype)


def _map_back(original: torch.Tensor) -> Callable[..., tuple[tuple, dict]]:
    def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        call = ExpertsCall(args, kwargs)
        return call.replace(original[call.indices].to(call.indices.dtype))

    return hook


def _read_norms(record: Record) -> NormsListener:
    def listener(indices: torch.Tensor, weights: torch.Tensor, norms: torch.Tensor) -> None:
        num_tokens, top_k = indices.shape
        tokens = torch.arange(num_tokens, device=indices.device)[:, None].expand(-1, top_k)
        record(Routes(indices.reshape(-1), weights.reshape(-1), norms.reshape(-1), tokens.reshape(-1), num_tokens))

    return listener


def _sum_of_routes(calls: list[ExpertsCall], record: Record) -> Callable[..., torch.Tensor]:
    def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        call = calls.pop()
        num_tokens, top_k = call.indices.shape
        outputs = output.reshape(num_tokens, top_k, -1)
        record(
            Routes(
                experts=call.indices.reshape(-1),
                weights=call.weights.reshape(-1),
                norms=torch.linalg.vector_norm(outputs, dim=-1, dtype=torch.float32).reshape(-1),
                tokens=torch.arange(num_tokens, device=output.device).repeat_interleave(top_k),
                num_tokens=num_tokens,
            )
        )
        return torch.bmm(call.weights.to(outputs.dtype)[:, None], outputs)[:, 0].view(*call.hidden.shape[:-1], -1)

    return hook
