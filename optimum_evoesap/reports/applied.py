# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A result that is applied to a model without the run that found it: whether it fits, and what is then recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..configuration import EvoESAPConfig
from ..models.classes import loader_name
from ..models.size import dtype_name, model_size
from ..models.sparse_model import SparseModel
from ..registry import STRATEGIES
from ..run.versions import package_versions
from ..search.allocation import AllocationSpace
from ..search.candidate import Candidate, check_candidate
from ..search.planning import allocation_space
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
        base_model=sparse_model.model.config.name_or_path or None,
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


def check_result(
    result: PruningResult, sparse_model: SparseModel, config: EvoESAPConfig
) -> tuple[AllocationSpace, Candidate]:
    """What a result keeps of a model, and the allocations that it is one of; the model may be on the meta device.

    Args:
        result: The result.
        sparse_model: The model.
        config: The configuration that [`configuration_of`] gave.

    Raises:
        ValueError: It is of a model of another shape, its experts do not fit, or its numbers contradict each other.
    """
    _check_shape(result, sparse_model)
    candidate = Candidate(tuple((layer, tuple(kept)) for layer, kept in sorted(result.kept_experts.items())))
    counts = candidate.removed(result.num_experts)
    if list(candidate) == result.sparse_layers and counts != result.allocation:
        raise ValueError(
            f"The result contradicts itself: its allocation removes {result.allocation} experts, its kept_experts "
            f"{counts}. Take an evoesap_result.json as a run wrote it."
        )
    space = allocation_space(config, sparse_model.layers)
    try:
        check_candidate(candidate, space)
    except ValueError as error:
        raise ValueError(f"The result does not fit the model: {error}") from error
    return space, candidate


def warn_of_another_base(result: PruningResult, model: PreTrainedModel, weights: str) -> None:
    """Warn where a result is of another model of the same shape, by its weights or, without them, by its name.

    Args:
        result: The result.
        model: The model that it is applied to.
        weights: Digest of its weights.
    """
    run = run_of(result)
    mine, theirs = _name(model.config.name_or_path), _name(run["base_model"])
    if run["base_weights"]:
        if run["base_weights"] == weights:
            return
        logger.warning(
            "The weights of %s are not those of %s, which the result is of%s. The experts that it keeps were chosen, "
            "and its scores measured, with those.",
            mine,
            theirs,
            _other_reasons(run, model),
        )
    elif mine != theirs:
        logger.warning(
            "The result is of %s, the model is %s, and the result records no digest of the weights to compare: be "
            "sure that both are the same model. The scores are those of the first.",
            theirs,
            mine,
        )


def applied_result(
    result: PruningResult, sparse_model: SparseModel, candidate: Candidate, tokenizer: Any, weights: str
) -> PruningResult:
    """The record of a model that a result is applied to and that is still whole.

    Args:
        result: The result.
        sparse_model: The model.
        candidate: What it keeps, from [`check_result`].
        tokenizer: The model's tokenizer or processor, if any.
        weights: Digest of the model's weights.
    """
    model = sparse_model.model
    parameters, size = model_size(model)
    where = result.loaded_from or {"result": None, "revision": None}
    is_of_no_run = result.criterion is None and not result.loaded_from
    return replace(
        result,
        base_model=model.config.name_or_path or None,
        kept_experts={layer: list(kept) for layer, kept in candidate.items()},
        parameters={"before": parameters},
        size_in_bytes={"before": size},
        versions=package_versions(),
        model_loader=loader_name(model),
        tokenizer_loader=tokenizer_loader_name(tokenizer),
        base_weights=weights,
        dtype=dtype_name(model),
        applied_from={} if is_of_no_run else where | run_of(result),
        loaded_from={},
    )


def run_of(result: PruningResult) -> dict[str, Any]:
    """What the run that found a result worked on, also where the result was applied since.

    Args:
        result: The result.
    """
    names = ("base_model", "base_weights", "dtype", "versions")
    return {name: result.applied_from[name] if result.applied_from else getattr(result, name) for name in names}


def _is_known(config: EvoESAPConfig, option: str, name: str) -> bool:
    try:
        config.replace(**{option: name})
    except ValueError:
        return False
    return True


def _check_shape(result: PruningResult, sparse_model: SparseModel) -> None:
    model = sparse_model.model
    mine = (model.config.model_type, sparse_model.indices, sparse_model.num_experts)
    theirs = (result.model_type, result.sparse_layers, result.num_experts)
    if mine != theirs:
        raise ValueError(
            f"The result is of {_name(run_of(result)['base_model'])} ({_shape(*theirs)}), and cannot be applied to "
            f"{_name(model.config.name_or_path)} ({_shape(*mine)}): their experts are not the same. Give the model "
            "that the result is of, or another of its shape."
        )


def _shape(model_type: str, indices: Sequence[int], num_experts: Sequence[int]) -> str:
    """Such as `olmoe, layers 0 to 15: 16 x 64 experts`."""
    counts = " + ".join(f"{len(list(equal))} x {count}" for count, equal in groupby(num_experts))
    layers = f"layers {min(indices)} to {max(indices)}" if indices else "no layers"
    return f"{model_type}, {layers}: {counts} experts"


def _other_reasons(run: Mapping[str, Any], model: PreTrainedModel) -> str:
    """What else makes the digests differ, where the run differs in it."""
    transformers = (run["versions"].get("transformers"), package_versions()["transformers"])
    pairs = {"dtype": (run["dtype"], dtype_name(model)), "transformers": transformers}
    found = [f"{name} {there} there, {here} here" for name, (there, here) in pairs.items() if there != here]
    return f" (or only read in another way: {'; '.join(found)})" if found else ""


def _name(base_model: str | None) -> str:
    return base_model or "a model made in memory"
