# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A result that is applied to a model without the run that found it: what a user gives, and what is then recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..configuration import EvoESAPConfig
from ..models.classes import loader_name
from ..models.size import dtype_name, model_size
from ..models.sparse_model import SparseModel
from ..registry import STRATEGIES
from ..run.versions import package_versions
from ..search.candidate import Candidate
from .record import tokenizer_loader_name
from .result import PruningResult


logger = logging.getLogger(__name__)


def is_result(given: Any) -> bool:
    """Whether this is a result, the place of one, or kept experts; the names of allocations are none of them.

    Args:
        given: What a user wants to be applied.
    """
    if isinstance(given, Mapping):
        return any(isinstance(value, Iterable) for value in given.values())
    is_name = isinstance(given, str) and given in ("uniform", *STRATEGIES)
    return isinstance(given, (PruningResult, str, Path)) and not is_name


def read_result(
    given: PruningResult | str | Path | Mapping[int, Sequence[int]], sparse_model: SparseModel
) -> PruningResult:
    """A result, where it is not one already, from its place or from kept experts.

    Args:
        given: A result, kept experts, or as for [`PruningResult.from_pretrained`].
        sparse_model: The model that kept experts are of.

    Raises:
        ValueError: The kept experts are of a layer that is not sparse.
    """
    if isinstance(given, Mapping):
        return _result_of_no_run(given, sparse_model)
    return given if isinstance(given, PruningResult) else PruningResult.from_pretrained(given)


def _result_of_no_run(kept_experts: Mapping[int, Sequence[int]], sparse_model: SparseModel) -> PruningResult:
    indices, num_experts = sparse_model.indices, sparse_model.num_experts
    unknown = sorted(set(kept_experts) - set(indices))
    if unknown:
        raise ValueError(f"The kept experts are of the layers {unknown}; the sparse layers are {indices}.")
    # Layers that are not named stay whole.
    kept = {layer: [int(i) for i in kept_experts.get(layer, range(n))] for layer, n in zip(indices, num_experts)}
    allocation = [total - len(experts) for total, experts in zip(num_experts, kept.values())]
    return PruningResult(
        base_model=sparse_model.origin.name,
        base_revision=sparse_model.origin.revision,
        model_type=sparse_model.model.config.model_type,
        criterion=None,
        fitness=None,
        sparsity=sum(allocation) / sum(num_experts),
        budget=sum(allocation),
        sparse_layers=indices,
        num_experts=num_experts,
        allocation=allocation,
        kept_experts=kept,
    )


def configuration_of(result: PruningResult, config: EvoESAPConfig) -> EvoESAPConfig:
    """The configuration of a pruner that applies a result: its removed counts, and no data.

    Args:
        result: The result.
        config: What else was chosen.

    Raises:
        ValueError: The result removes nothing.
    """
    # A criterion of somebody's own, by which a result was found, need not be known here to apply it.
    named = {"criterion": result.criterion, "fitness": result.fitness}
    names = {option: name for option, name in named.items() if name is not None and _is_known(config, option, name)}
    for option in [each for each in named if named[each] is not None and each not in names]:
        logger.warning(
            "The %s %r of the result is not registered here, so evoesap_config.json names %r in its place; "
            "evoesap_result.json has the right name.",
            option,
            named[option],
            getattr(config, option),
        )
    counts = dict(zip(result.sparse_layers, result.allocation))
    return config.replace(allocation=counts, calibration_dataset=None, search_dataset=None, seed=result.seed, **names)


def applied_result(
    result: PruningResult, sparse_model: SparseModel, candidate: Candidate, tokenizer: Any, weights: str | None
) -> PruningResult:
    """The record of a model that a result is applied to and that is still whole.

    Args:
        result: The result.
        sparse_model: The model.
        candidate: What it keeps, from [`check_result`].
        tokenizer: The model's tokenizer or processor, if any.
        weights: Digest of the model's weights, where they were read.
    """
    model = sparse_model.model
    parameters, size = model_size(model)
    where = result.loaded_from or {"result": None, "revision": None}
    is_of_no_run = result.criterion is None and not result.loaded_from
    return replace(
        result,
        base_model=sparse_model.origin.name,
        base_revision=sparse_model.origin.revision,
        kept_experts={layer: list(kept) for layer, kept in candidate.items()},
        parameters={"before": parameters},
        size_in_bytes={"before": size},
        versions=package_versions(),
        model_loader=loader_name(model),
        tokenizer_loader=tokenizer_loader_name(tokenizer),
        base_weights=weights,
        dtype=dtype_name(model),
        applied_from={} if is_of_no_run else where | result.run,
        loaded_from={},
    )


def _is_known(config: EvoESAPConfig, option: str, name: str) -> bool:
    try:
        config.replace(**{option: name})
    except ValueError:
        return False
    return True
