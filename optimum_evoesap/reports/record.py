# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fill in the [`PruningResult`] of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transformers import ProcessorMixin

from ..configuration import EvoESAPConfig
from ..data import TokenizedData
from ..models.classes import loader_name
from ..models.size import dtype_name, model_size
from ..models.sparse_model import SparseModel
from ..run.versions import package_versions
from ..search.allocation import AllocationSpace
from ..search.find import SearchOutcome
from ..search.guard import Verdict
from ..search.order import RankedExperts
from .result import PruningResult


def record_run(
    sparse_model: SparseModel,
    space: AllocationSpace,
    config: EvoESAPConfig,
    tokenizer: Any,
    found: SearchOutcome,
    data: Mapping[str, TokenizedData],
    base_weights: str | None = None,
    ranked: RankedExperts | None = None,
) -> PruningResult:
    """The record of a run whose allocation is decided and whose model is still whole.

    Args:
        sparse_model: The model.
        space: The allocations that were allowed.
        config: The choices.
        tokenizer: The model's tokenizer or processor, if any.
        found: What was found.
        data: The data that were used, by kind.
        base_weights: Digest of the model's weights.
        ranked: How the experts were ordered; by default by the criterion of the configuration.
    """
    model, scores = sparse_model.model, found.means
    parameters, size = model_size(model)
    allocation = found.best.removed(space.num_experts)
    is_uniform = tuple(allocation) == replace(space, budget=sum(allocation)).uniform()
    not_compared_because = _why_not_compared(scores, config, data, is_uniform)
    return PruningResult(
        base_model=sparse_model.origin.name,
        base_revision=sparse_model.origin.revision,
        model_type=model.config.model_type,
        criterion=ranked.criterion if ranked else config.criterion,
        criterion_scores=ranked.compared if ranked else {},
        fitness=config.fitness if scores or (ranked and ranked.compared) else None,
        sparsity=sum(allocation) / sum(space.num_experts),
        budget=sum(allocation),
        sparse_layers=sparse_model.indices,
        num_experts=list(space.num_experts),
        allocation=allocation,
        kept_experts={layer: list(kept) for layer, kept in found.best.items()},
        protected_experts={i: sorted(experts) for i, experts in zip(space.layers, space.protected) if experts},
        scores=scores,
        interval=list(found.interval) if found.interval else None,
        domains={name: _domain(each, found.is_guarded) for name, each in found.domains.items()},
        goal=config.goal if scores else "mean",
        beats_uniform=None if not_compared_because else found.beats_uniform,
        is_guarded=found.is_guarded,
        stopped_because=found.stopped_because,
        not_compared_because=not_compared_because,
        history=found.history,
        parameters={"before": parameters},
        size_in_bytes={"before": size},
        data={kind: each.summary() for kind, each in data.items()},
        seed=config.seed,
        versions=package_versions(),
        model_loader=loader_name(model),
        tokenizer_loader=tokenizer_loader_name(tokenizer),
        base_weights=base_weights,
        dtype=dtype_name(model),
    )


def tokenizer_loader_name(tokenizer: Any) -> str:
    """The class in transformers that loads a tokenizer or processor.

    Args:
        tokenizer: It, or `None`.
    """
    return "AutoProcessor" if isinstance(tokenizer, ProcessorMixin) else "AutoTokenizer"


def _domain(verdict: Verdict, is_guarded: bool) -> dict[str, Any]:
    best, uniform = verdict.best.mean, verdict.uniform.mean
    taken = {"best": uniform, "uniform": uniform, "found": best} if is_guarded else {"best": best, "uniform": uniform}
    return taken | {"interval": list(verdict.interval) if verdict.interval else None}


def _why_not_compared(
    scores: dict[str, float], config: EvoESAPConfig, data: Mapping[str, TokenizedData], is_uniform: bool
) -> str:
    if not scores:
        return ""
    if is_uniform and not config.is_searched:
        return "it is the uniform allocation"
    if not config.holdout_fraction:
        return "holdout_fraction=0"
    return "" if "holdout_best" in scores else f"{len(data['search'])} windows are too few to hold some out"
