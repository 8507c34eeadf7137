# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`VirtualSlice`]: a model that behaves as if experts were removed, while their weights stay in place.

The router sees only the kept rows (weight, bias, selection bias, counts); what it returns is mapped back just before
the experts run, in the way of their adapter. That gives the bits of the real slice. Masking scores with -inf does not:
it is wrong for routers with a selection bias, groups or softmax before top-k, and not exact in bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ..adapters import MoELayer


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
                layer.slice_virtually(self._kept[layer.index], undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._undo.close()
