# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ModuleCall`]: a call of the module that holds a layer's routers and experts, which can be made again."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Cache

from ..adapters import ExpertList, MoELayer, pre_hook


def smallest_modules(layer: MoELayer) -> list[nn.Module]:
    """In each module of a layer, the smallest one that runs its routers and experts, all blocks of them.

    Most often that is the sparse block; the decoder layer where routers lie beside the experts (Gemma 4) or one block
    is in the attention (JetMoE).

    Args:
        layer: The layer.
    """
    return [_smallest(whole, list(_owners(layer))) for whole in layer.modules]


def _owners(layer: MoELayer) -> Iterator[nn.Module]:
    for block in layer.blocks:
        yield from block.experts
        yield from (count.owner for count in (*block.expert_counts, *block.router_counts))
        for part in block.parts:
            yield from (part.owner,) if isinstance(part, ExpertList) else part.owners


def _smallest(whole: nn.Module, owners: list[nn.Module]) -> nn.Module:
    names = {id(module): name for name, module in whole.named_modules()}
    paths = [names[id(owner)].split(".") if names[id(owner)] else [] for owner in owners if id(owner) in names]
    common = os.path.commonprefix(paths)
    # A container of modules is not called itself.
    while type(whole.get_submodule(".".join(common))).forward is nn.Module.forward:
        common.pop()
    return whole.get_submodule(".".join(common))


@dataclass
class ModuleCall:
    """One call of a module, with copies of what it may have changed of its input.

    Attributes:
        module: The module.
        args: The positional arguments.
        kwargs: The keyword arguments.
        output: The hidden states that it returned, one row a token.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: torch.Tensor

    def again(self) -> torch.Tensor:
        """What the module returns for the same input now, one row a token."""
        args, kwargs = _copied(self.args, self.kwargs)
        return _rows_of(self.module(*args, **kwargs))

    @property
    def can_take_rows(self) -> bool:
        """Whether the input is one of rows alone: each tensor in it has one for each token."""
        leading = self._leading
        return leading.numel() == len(self.output) and all(
            value.shape[: len(leading)] == leading
            if isinstance(value, torch.Tensor)
            else value is None or isinstance(value, (bool, int, float, str))
            for value in (*self.args, *self.kwargs.values())
        )

    def on_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """What the module returns for some of the tokens alone, one row a token.

        Args:
            rows: Positions of the tokens, shape (rows,).
        """
        axes = len(self._leading)

        def chosen(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            some = value.flatten(0, axes - 1)[rows]
            return some.view(*[1] * (axes - 1), *some.shape)

        args = tuple(chosen(value) for value in self.args)
        return _rows_of(self.module(*args, **{name: chosen(value) for name, value in self.kwargs.items()}))

    @property
    def _leading(self) -> torch.Size:
        return _hidden_states(self.args, self.kwargs).shape[:-1]


class CallWatch:
    """Hands each call of a module to a function; calls made from there are not watched.

    Args:
        module: The module.
        use: Called with each [`ModuleCall`] of it.
    """

    def __init__(self, module: nn.Module, use: Callable[[ModuleCall], None]):
        self._module = module
        self._use = use
        self._inputs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._is_busy = False

    def watch(self, undo: ExitStack) -> None:
        """Begin.

        Args:
            undo: Gets what ends it.
        """
        self._inputs.clear()
        undo.enter_context(pre_hook(self._module, self._keep_inputs))
        undo.callback(self._module.register_forward_hook(self._hand_over).remove)

    def _keep_inputs(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self._is_busy:
            self._inputs.append(_copied(args, kwargs))

    def _hand_over(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        try:
            self._use(ModuleCall(module, *self._inputs.pop(), _rows_of(output)))
        finally:
            self._is_busy = False


def _hidden_states(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    values = (*args, *kwargs.values())
    return next(each for each in values if isinstance(each, torch.Tensor) and each.is_floating_point())


def _copied(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with copies of what modules write into: hidden states and caches."""
    hidden = _hidden_states(args, kwargs)

    def copied(value: Any) -> Any:
        if value is hidden:
            return hidden.clone()
        return copy.deepcopy(value) if isinstance(value, Cache) else value

    return tuple(copied(value) for value in args), {name: copied(value) for name, value in kwargs.items()}


def _rows_of(output: Any) -> torch.Tensor:
    hidden = output if isinstance(output, torch.Tensor) else output[0]
    return hidden.flatten(0, -2)
