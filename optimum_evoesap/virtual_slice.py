# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`VirtualSlice`]: a model that behaves as if experts were removed, while their weights stay in place.

The router sees only the kept rows (weight, bias, selection bias, counts); the expert indices that it returns are
mapped back just before the experts run. That gives the bits of the real slice. Masking scores with -inf does not: it
is wrong for routers with a selection bias, groups or softmax before top-k, and not exact in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
        self._undo = ExitStack()

    def __enter__(self) -> VirtualSlice:
        with ExitStack() as undo:
            for layer in self._layers:
                self._slice(layer, self._kept[layer.index], undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._undo.close()

    def _slice(self, layer: MoELayer, kept: list[int], undo: ExitStack) -> None:
        # Each way back is noted before the step itself, so that an interrupt between the two does no harm.
        for tensor in layer.router_tensors:
            undo.callback(tensor.replace, tensor.value)
            tensor.replace(tensor.selected(kept))
        for count in layer.router_counts:
            undo.callback(count.set_experts, layer.num_experts)
            count.set_experts(len(kept))
        extra = max((tensor.axis.extra for tensor in layer.router_tensors), default=0)
        original = kept + list(range(layer.num_experts, layer.num_experts + extra))
        undo.enter_context(_hook(layer.experts, _map_back(original)))


@contextmanager
def _hook(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _map_back(original: list[int]) -> Callable[..., Any]:
    tables: dict[torch.device, torch.Tensor] = {}

    def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        call = ExpertsCall(args, kwargs)
        indices = call.indices
        if indices.device not in tables:
            tables[indices.device] = torch.tensor(original, device=indices.device, dtype=indices.dtype)
        return call.replace(tables[indices.device][indices])

    return hook
