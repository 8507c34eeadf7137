# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""JetMoE: tokens come sorted by expert, with the number of tokens for each expert.

Source: `JetMoeMoE` and `JetMoeMoA` in transformers/models/jetmoe/modeling_jetmoe.py. A block has two modules of
experts, one on the way in and one on the way out; its router returns, row by row, the route, the token and the gate
weight, then the rows of each expert, then logits. The attention experts (MoA) have a router of their
own but share the count.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from ..block import MoEBlock, Record, Routes, post_hook, pre_hook, register_adapter


@register_adapter
class SortedExperts(MoEBlock):
    """Experts that each get all their tokens in one piece."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """A module whose forward takes the number of tokens of each expert.

        Args:
            owner: The module, on the meta device.
            name: Name of a tensor of it.
        """
        return "expert_size" in inspect.signature(owner.forward).parameters

    @classmethod
    def path_of(cls, owner_path: str) -> str:
        """The block that has the two modules."""
        return owner_path.rpartition(".")[0]

    def restrict(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Tell the whole experts that removed ones have no tokens.

        Args:
            kept: Experts that stay, by their index now.
            undo: Gets what undoes it.
        """
        num_experts, chosen = self.num_experts, list(kept)

        def expand(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            inputs, sizes = args
            expanded = [0] * num_experts
            for expert, size in zip(chosen, sizes):
                expanded[expert] = size
            return (inputs, expanded), kwargs

        for part in self.expert_parts:
            undo.enter_context(pre_hook(_owner(part), expand))

    def observe(self, record: Record, undo: ExitStack) -> None:
        """Read the routes that the router returned and the outputs of the experts on the way out.

        Args:
            record: Called with the routes of each call.
            undo: Gets what ends it.
        """
        (router,) = self.router_tensors
        routings: list[tuple[Any, ...]] = []
        gating = next(module for module in self.experts[0].modules() if router.owners[0] in module.children())
        undo.enter_context(post_hook(gating, _keep_routing(routings)))
        undo.enter_context(post_hook(self._way_out, _read_outputs(routings, record)))

    def weigh(self, factors: torch.Tensor, undo: ExitStack) -> None:
        """Multiply the rows of the experts on the way out.

        Args:
            factors: Shape (experts,).
            undo: Gets what ends it.
        """

        def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
            _, sizes = args
            counts = torch.tensor(sizes, device=output.device)
            return output * factors.to(output).repeat_interleave(counts)[:, None]

        undo.enter_context(post_hook(self._way_out, hook))

    @property
    def _way_out(self) -> nn.Module:
        return self.experts[0].get_submodule("output_linear")


def _owner(part: Any) -> nn.Module:
    return part.owners[0]


def _keep_routing(routings: list[tuple[Any, ...]]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, output: tuple[Any, ...]) -> None:
        routings.append(output)

    return hook


def _read_outputs(routings: list[tuple[Any, ...]], record: Record) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        _, tokens, weights, sizes, logits = routings.pop()
        counts = torch.tensor(sizes, device=output.device)
        experts = torch.arange(len(sizes), device=output.device).repeat_interleave(counts)
        norms = torch.linalg.vector_norm(output, dim=-1, dtype=torch.float32)
        record(Routes(experts, weights, norms, tokens, logits.shape[0]))

    return hook
