# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether a result fits a model: refused where its experts are not there, a warning where its weights are others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from transformers import PreTrainedModel

from ..configuration import EvoESAPConfig
from ..models.size import dtype_name
from ..models.sparse_model import SparseModel
from ..run.versions import package_versions
from ..search.allocation import AllocationSpace
from ..search.candidate import Candidate, check_candidate
from ..search.planning import allocation_space
from .result import PruningResult


logger = logging.getLogger(__name__)


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


def warn_of_another_base(result: PruningResult, model: PreTrainedModel, weights: str | None) -> None:
    """Warn where a result is of another model of the same shape, by its weights or, without them, by its name.

    Args:
        result: The result.
        model: The model that it is applied to.
        weights: Digest of its weights; `None` where they were not read.
    """
    run = result.run
    mine, theirs = _name(model.config.name_or_path), _name(run["base_model"])
    if run["base_weights"] and weights is not None:
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
            "The result is of %s, the model is %s, and %s: be sure that both are the same model. The scores are those "
            "of the first.",
            theirs,
            mine,
            "the result records no digest of the weights to compare"
            if not run["base_weights"]
            else "their weights were not compared",
        )


def _check_shape(result: PruningResult, sparse_model: SparseModel) -> None:
    model = sparse_model.model
    mine = (model.config.model_type, sparse_model.indices, sparse_model.num_experts)
    theirs = (result.model_type, result.sparse_layers, result.num_experts)
    if mine != theirs:
        raise ValueError(
            f"The result is of {_name(result.run['base_model'])} ({_shape(*theirs)}), and cannot be applied to "
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
