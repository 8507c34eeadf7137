# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fill in the [`PruningResult`] of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import ProcessorMixin

from ..data import TokenizedData
from ..models.classes import loader_name
from ..models.size import model_size
from ..run.versions import package_versions
from .result import PruningResult


if TYPE_CHECKING:
    from ..pruner import MoEPruner


def record_run(pruner: MoEPruner, data: dict[str, TokenizedData]) -> PruningResult:
    """The record of a run whose allocation is decided and whose model is still whole."""
    parameters, size = model_size(pruner.model)
    num_experts = [layer.num_experts for layer in pruner.layers]
    allocation, scores = pruner.allocation or [], pruner.scores
    not_compared_because = _why_not_compared(pruner, data)
    is_compared = bool(scores) and not not_compared_because
    return PruningResult(
        base_model=pruner.model.config.name_or_path or None,
        model_type=pruner.model.config.model_type,
        criterion=pruner.config.criterion,
        fitness=pruner.config.fitness if pruner.scores else None,
        sparsity=sum(allocation) / sum(num_experts),
        budget=sum(allocation),
        sparse_layers=pruner.sparse_layers,
        num_experts=num_experts,
        allocation=allocation,
        kept_experts=pruner.kept_experts,
        scores=scores,
        beats_uniform=scores["holdout_best"] > scores["holdout_uniform"] if is_compared else None,
        not_compared_because=not_compared_because,
        history=pruner.history,
        parameters={"before": parameters},
        size_in_bytes={"before": size},
        data={kind: each.summary() for kind, each in data.items()},
        seed=pruner.config.seed,
        versions=package_versions(),
        model_loader=loader_name(pruner.model),
        tokenizer_loader="AutoProcessor" if isinstance(pruner.tokenizer, ProcessorMixin) else "AutoTokenizer",
    )


def _why_not_compared(pruner: MoEPruner, data: dict[str, TokenizedData]) -> str:
    if not pruner.scores:
        return ""
    if pruner.config.allocation == "uniform":
        return "it is the uniform allocation"
    if not pruner.config.holdout_fraction:
        return "holdout_fraction=0"
    return "" if "holdout_best" in pruner.scores else f"{len(data['search'])} windows are too few to hold some out"
