# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""About how much work a criterion is, in forward passes through the whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..adapters import MoELayer
from .criterion_names import is_measured


# How much longer the tokens of a layer take in one call for each expert than in one for all (the bundled model).
_SMALL_CALLS = 3


def _one_score_an_expert(layers: Sequence[MoELayer], num_layers: int) -> float:
    """From its layer on for each expert, and once the layers before."""
    measured = [layer for layer in layers if layer.num_experts - layer.num_groups >= layer.min_kept]
    return 1 + sum(layer.num_experts * (num_layers - layer.index) / num_layers for layer in measured)


def _one_layer_an_expert(layers: Sequence[MoELayer], num_layers: int) -> float:
    """Each layer runs again on the tokens of each of its experts, which are all tokens top-k times, in small calls."""
    return 1 + _SMALL_CALLS * sum(layer.top_k for layer in layers) / num_layers


# Criteria that cost something else than one score of a candidate for each expert.
_EFFORTS: dict[str, Callable[[Sequence[MoELayer], int], float]] = {"reconstruction": _one_layer_an_expert}


def passes_of(criterion: str, layers: Sequence[MoELayer], num_layers: int) -> float:
    """Forward passes, through all layers, that measuring a criterion costs for each window.

    Args:
        criterion: Its name; one that is made of statistics costs nothing.
        layers: The sparse layers.
        num_layers: Decoder layers of the model.

    Raises:
        ValueError: There is no such criterion.
    """
    return _EFFORTS.get(criterion, _one_score_an_expert)(layers, num_layers) if is_measured(criterion) else 0.0
