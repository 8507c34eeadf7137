# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A `ModuleList` with one module per expert, in a block that routes by itself: most models with remote code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from ..block import MoEBlock, Record, Routes, post_hook, pre_hook, register_adapter
from ..parts import ExpertList


# Height of the marks over what else the block adds (shared experts): far above, so that rounding does not blur them.
_MARKS = {torch.float16: 2.0**10}
_HIGHEST_MARK = 2.0**40


@register_adapter
class ListedExperts(MoEBlock):
    """Experts that are modules of their own, called by the loop of their block."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """A module with a list that has one module per expert.

        Args:
            owner: The module, on the meta device.
            name: Name of the list.
        """
        return isinstance(getattr(owner, name), nn.ModuleList)

    def restrict(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Show the block a list of the kept modules; nothing is copied.

        Args:
            kept: Experts that stay, by their index now.
            undo: Gets what undoes it.
        """
        experts = self._list
        undo.callback(experts.replace, experts.value)
        experts.replace(experts.selected(kept))

    def observe(self, record: Record, undo: ExitStack) -> None:
        """Take norms from the experts, and ask the block itself for the weights that it gave them.

        What a block returns is linear in what its experts return. So it is run again with idle experts that return
        marks: a one in the place of their own number, then their norms in that place. What comes out are gate weights,
        and gate weights x norms, as the block applied them; no router is computed a second way. Marks of half the
        height must come out half as high: otherwise the block is not linear, and its call raises a `ValueError`.

        Args:
            record: Called with the routes of each call.
            undo: Gets what ends it.
        """
        watched = _Watched()
        for number, expert in enumerate(self._list.value):
            undo.enter_context(post_hook(expert, watched.keep_norms(number)))
        undo.enter_context(pre_hook(self.experts[0], watched.keep_inputs))
        undo.enter_context(post_hook(self.experts[0], self._read_weights(watched, record)))

    def weigh(self, factors: torch.Tensor, undo: ExitStack) -> None:
        """Multiply the outputs of the experts: what a block returns is linear in them.

        Args:
            factors: Shape (experts,).
            undo: Gets what ends it.
        """
        for number, expert in enumerate(self._list.value):
            undo.enter_context(post_hook(expert, _times(factors[number])))

    @property
    def _list(self) -> ExpertList:
        (experts,) = self.expert_parts
        assert isinstance(experts, ExpertList)
        return experts

    def _read_weights(self, watched: _Watched, record: Record) -> Callable[..., None]:
        def hook(block: nn.Module, args: tuple, output: Any) -> None:
            width = _first_tensor(output).shape[-1]
            if self.num_experts > width:
                raise ValueError(
                    f"The block {self.path} has {self.num_experts} experts and only {width} hidden values, so its "
                    "gate weights cannot be read through it. Write an adapter with register_adapter."
                )
            highest = watched.normalize()
            mark = _MARKS.get(_first_tensor(output).dtype, _HIGHEST_MARK)
            base = self._replay(block, watched, 0.0)
            weights = (self._replay(block, watched, mark) - base) / mark
            by_half = (self._replay(block, watched, mark / 2) - base) / mark * 2
            if not torch.allclose(weights, by_half, rtol=0.05, atol=1e-3 * float(weights.abs().max())):
                raise ValueError(
                    f"What the block {self.path} ({type(block).__name__}) returns is not the sum of what its experts "
                    "return, each times its gate weight (a norm or a limit comes after it), so gate weights cannot be "
                    "read through it. Write an adapter with register_adapter."
                )
            weighted_norms = (self._replay(block, watched, mark, watched.norms) - base) / mark * highest
            watched.clear()
            tokens, experts = weights.nonzero(as_tuple=True)
            chosen = weights[tokens, experts]
            norms = (weighted_norms[tokens, experts] / chosen).float()
            record(Routes(experts, chosen, norms, tokens, num_tokens=weights.shape[0]))

        return hook

    def _replay(
        self,
        block: nn.Module,
        watched: _Watched,
        mark: float,
        heights: dict[int, list[torch.Tensor]] | None = None,
    ) -> torch.Tensor:
        """What the block returns if each expert returns a mark in the place of its number, shape (tokens, experts)."""
        args, kwargs = _copy(*watched.inputs)
        with ExitStack() as undo:
            for number, expert in enumerate(self._list.value):
                undo.callback(_set_forward, expert, vars(expert).get("forward"))
                left = None if heights is None else list(heights.get(number, ()))
                _set_forward(expert, watched.idle_forward(number, mark, left))
            return _first_tensor(block.forward(*args, **kwargs)).flatten(0, -2)[:, : self.num_experts].double()


class _Watched:
    """What was seen of one call of a block: its inputs, and the norms of what its experts returned."""

    def __init__(self) -> None:
        self.inputs: tuple[tuple, dict] = ((), {})
        self.norms: dict[int, list[torch.Tensor]] = {}
        self._width = 0
        self._rest: tuple | None = None

    def keep_inputs(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        # A copy, since a block may write into its input.
        self.inputs = _copy(args, kwargs)

    def keep_norms(self, number: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            value = _first_tensor(output)
            # Beside the hidden states an expert may return something more, which stays as it was.
            self._width, self._rest = value.shape[-1], None if value is output else tuple(output[1:])
            self.norms.setdefault(number, []).append(torch.linalg.vector_norm(value, dim=-1, dtype=torch.float32))

        return hook

    def normalize(self) -> float:
        """Divide all norms by the highest, and return that."""
        called = [each for calls in self.norms.values() for each in calls if each.numel()]
        highest = max((float(each.max()) for each in called), default=0.0) or 1.0
        self.norms = {number: [each / highest for each in calls] for number, calls in self.norms.items()}
        return highest

    def idle_forward(self, number: int, mark: float, heights: list[torch.Tensor] | None) -> Callable[..., Any]:
        """A forward that returns marks, in call after call, and computes nothing."""

        def forward(*args: Any, **kwargs: Any) -> Any:
            hidden = next(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
            marks = hidden.new_zeros(*hidden.shape[:-1], self._width)
            height = 1.0 if heights is None else heights.pop(0).reshape(marks.shape[:-1]).to(marks.dtype)
            marks[..., number] = height * mark
            return marks if self._rest is None else (marks, *self._rest)

        return forward

    def clear(self) -> None:
        self.inputs, self.norms = ((), {}), {}


def _times(factor: torch.Tensor) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple, output: Any) -> Any:
        weighed = _first_tensor(output) * factor.to(_first_tensor(output))
        return weighed if isinstance(output, torch.Tensor) else (weighed, *output[1:])

    return hook


def _set_forward(expert: nn.Module, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        vars(expert).pop("forward", None)
    else:
        vars(expert)["forward"] = forward


def _copy(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    def copied(value: Any) -> Any:
        return value.clone() if isinstance(value, torch.Tensor) else value

    return tuple(copied(value) for value in args), {name: copied(value) for name, value in kwargs.items()}


def _first_tensor(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]
