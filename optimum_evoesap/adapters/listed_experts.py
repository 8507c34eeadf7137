# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A `ModuleList` with one module per expert, in a block that routes by itself: most models with remote code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from .block import MoEBlock, Record, Routes, post_hook, register_adapter
from .parts import ExpertList


# Height of the marks over what else the block adds (shared experts), so that rounding does not blur them.
_MARK = 4096.0


@register_adapter
class ListedExperts(MoEBlock):
    """Experts that are modules of their own, called by the loop of their block."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """A module with a list that has one module per expert."""
        return isinstance(getattr(owner, name), nn.ModuleList)

    def restrict(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Show the block a list of the kept modules; nothing is copied."""
        experts = self._list
        undo.callback(experts.replace, experts.value)
        experts.replace(experts.selected(kept))

    def observe(self, record: Record, undo: ExitStack) -> None:
        """Take norms from the experts, and ask the block itself for the weights that it gave them.

        What a block returns is linear in what its experts return. So it is run twice more with idle experts that
        return marks: a one in the place of their own number, then their norms in that place. What comes out are gate
        weights, and gate weights x norms, as the block applied them; no router is computed a second way.
        """
        norms: dict[int, list[torch.Tensor]] = {}
        for number, expert in enumerate(self._list.value):
            undo.enter_context(post_hook(expert, _keep_norms(norms, number)))
        block = self.experts[0]
        handle = block.register_forward_hook(self._read_weights(norms, record), with_kwargs=True)
        undo.callback(handle.remove)

    @property
    def _list(self) -> ExpertList:
        (experts,) = self.expert_parts
        assert isinstance(experts, ExpertList)
        return experts

    def _read_weights(self, norms: dict[int, list[torch.Tensor]], record: Record):
        def hook(block: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            def replay(idle: Sequence[nn.Module]) -> torch.Tensor:
                with ExitStack() as undo:
                    undo.callback(self._list.replace, self._list.value)
                    self._list.replace(nn.ModuleList(idle))
                    return _first_tensor(block.forward(*args, **kwargs)).flatten(0, -2).double()

            called = [each for calls in norms.values() for each in calls if each.numel()]
            highest = max((float(each.max()) for each in called), default=0.0) or 1.0
            base = replay([_Idle() for _ in range(self.num_experts)])
            if self.num_experts > base.shape[-1]:
                raise ValueError(
                    f"The block {self.path} has {self.num_experts} experts and only {base.shape[-1]} hidden values; "
                    "its gate weights cannot be read through it. Write an adapter with register_adapter."
                )
            ones = [_Marks(number, None) for number in range(self.num_experts)]
            heights = [
                _Marks(number, [each / highest for each in norms.get(number, ())])
                for number in range(self.num_experts)
            ]
            weights = ((replay(ones) - base) / _MARK)[:, : self.num_experts]
            weighted_norms = ((replay(heights) - base) / _MARK * highest)[:, : self.num_experts]
            norms.clear()
            tokens, experts = weights.nonzero(as_tuple=True)
            chosen = weights[tokens, experts]
            norms_of_routes = (weighted_norms[tokens, experts] / chosen).float()
            record(Routes(experts, chosen, norms_of_routes, tokens, weights.shape[0]))

        return hook


class _Idle(nn.Module):
    """An expert that returns zeros."""

    def forward(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.zeros_like(hidden)


class _Marks(_Idle):
    """An expert that returns a one in the place of its number, or the next of the given heights."""

    def __init__(self, number: int, heights: list[torch.Tensor] | None):
        super().__init__()
        self._number = number
        self._heights = heights

    def forward(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        marks = super().forward(hidden)
        height = 1.0 if self._heights is None else self._heights.pop(0).reshape(marks.shape[:-1]).to(marks.dtype)
        marks[..., self._number] = height * _MARK
        return marks


def _keep_norms(norms: dict[int, list[torch.Tensor]], number: int):
    def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        norms.setdefault(number, []).append(torch.linalg.vector_norm(output, dim=-1, dtype=torch.float32))

    return hook


def _first_tensor(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]
