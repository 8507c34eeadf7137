# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fill in the [`Front`] of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configuration import EvoESAPConfig
from ..data import TokenizedData
from ..models.size import checkpoint_size, sizes_without
from ..models.sparse_model import SparseModel
from ..search.allocation import AllocationSpace
from ..search.find import SearchOutcome
from .front import Front, FrontPoint
from .record import record_run


def record_front(
    sparse_model: SparseModel,
    configs: Mapping[float, EvoESAPConfig],
    spaces: Mapping[float, AllocationSpace],
    tokenizer: Any,
    found: Mapping[AllocationSpace, SearchOutcome],
    data: Mapping[str, TokenizedData],
    base_weights: str,
) -> Front:
    """The front of a run whose model is still whole.

    Args:
        sparse_model: The model.
        configs: The choices, by sparsity.
        spaces: The allocations that were allowed, by sparsity.
        tokenizer: The model's tokenizer or processor, if any.
        found: What was found in each space.
        data: The data that were used, by kind.
        base_weights: Digest of the model's weights.
    """
    points = []
    for sparsity, space in spaces.items():
        given = (sparse_model, space, configs[sparsity], tokenizer, found[space])
        result = record_run(*given, data, base_weights)
        sizes = sizes_without(sparse_model.model, sparse_model.layers, result.allocation)
        result.parameters["after"], result.size_in_bytes["after"] = sizes.parameters, sizes.size_in_bytes
        points.append(FrontPoint(sparsity, result, sizes.checkpoint_bytes))
    return Front(points, checkpoint_size(sparse_model.model))
