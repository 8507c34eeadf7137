# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`VirtualSlice`]: a model that behaves as if experts were removed, while their weights stay in place.

The router sees only the kept rows (weight, bias, selection bias, counts); the expert indices that it returns are
mapped back just before the experts run. That gives the bits of the real slice. Masking scores with -inf does not: it
is wrong for routers with a selection bias, groups or softmax before top-k, and not exact in bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .adapters import ExpertsCall, MoELayer


class VirtualSlice:
    """A context in which a model uses only some of its experts. Leaving it, also by an exception, restores the model.

    Args:
        layers: The sparse layers of the model.
        kept_experts: For each decoder layer to slice, the kept experts in ascending order; other layers stay whole.
    """

    def __init__(self, layers: Sequence[MoELayer], kept_experts: Mapping[int, Sequence[int]]):
        self._layers = [layer for layer in layers if layer.index in kept_experts]
        self._kept = {index: list(kept) for index, kept in kept_experts.items()}
        self._undo: list[Any] = []

    def __enter__(self) -> VirtualSlice:
        try:
            for layer in self._layers:
                self._slice(layer, self._kept[layer.index])
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self._restore()

    def _slice(self, layer: MoELayer, kept: list[int]) -> None:
        for tensor in layer.router_tensors:
            old = tensor.value
            tensor.replace(tensor.selected(kept))
            self._undo.append(lambda tensor=tensor, old=old: tensor.replace(old))
        for count in layer.router_counts:
            old_count = layer.num_experts
            count.set_experts(len(kept))
            self._undo.append(lambda count=count, old_count=old_count: count.set_experts(old_count))
        extra = max((tensor.axis.extra for tensor in layer.router_tensors), default=0)
        original = kept + list(range(layer.num_experts, layer.num_experts + extra))
        handle = layer.experts.register_forward_pre_hook(_map_back(original), with_kwargs=True)
        self._undo.append(handle.remove)

    def _restore(self) -> None:
        while self._undo:
            self._undo.pop()()


def _map_back(original: list[int]):
    tables: dict[torch.device, torch.Tensor] = {}

    def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        call = ExpertsCall(list(args), dict(kwargs))
        indices = call.indices
        if indices.device not in tables:
            tables[indices.device] = torch.tensor(original, device=indices.device)
        call.indices = tables[indices.device][indices].to(indices.dtype)
        return tuple(call.args), call.kwargs

    return hook
