# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Measure in a short time how prunable a model is: routing, curves of its layers, and scores over sparsity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..adapters import MoELayer
from ..calibration.criteria import PruningOrder
from ..calibration.criterion_names import AUTO
from ..calibration.observer import observe_experts
from ..calibration.statistics import ExpertStatistics
from ..configuration import EvoESAPConfig
from ..data import DataError, TokenizedData
from ..fitness.slices import SliceScorer
from ..kernels.forward.fused_forward import fused_forward
from ..models.loading import load_model
from ..models.origin import absolute_if_local
from ..models.processors import Processor, load_processor
from ..models.sparse_model import SparseModel
from ..models.whole import run_whole
from ..run.breadth import FEW_TOKENS
from ..run.inputs import ModelInputs
from ..run.state import RunState
from ..run.text_data import check_data, find_processor_for
from ..run.window_length import with_fitting_windows
from ..search.allocation import AllocationSpace, budget_of
from ..search.curves import Curve
from ..search.layer_curves import candidate_of, cheapest_by_curves, measure_curves, score_all
from ..search.order import Ranker
from ..search.planning import limits_of
from .prunability import LayerPrunability, MeasuredOutlook, Prunability


# Tokens that the statistics come from, the first of them for the curves, and others that scores are measured on.
_LEARNED_TOKENS = 16_384
_CURVE_TOKENS = 4_096
_SCORED_TOKENS = 8_192
_NUM_LEVELS = 6
SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
# Of the criteria that are made of statistics, the one by which most is left (see docs/source/front.mdx).
CRITERION = "frequency"


def measure_prunability(
    model: str | Path | SparseModel,
    config: EvoESAPConfig | None = None,
    data: Any = None,
    tokenizer: Processor | str | Path | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    **model_kwargs: Any,
) -> Prunability:
    """Measure on few windows what a model would keep at several sparsities.

    Experts go in the order of a cheap criterion, and how many go from where follows from the curves of the layers. Its
    scores are measured, on windows that neither saw. A search, which measures the order too, keeps more.

    Args:
        model: Folder, Hub id, or a model.
        config: Criterion, fitness, data and sizes of windows; by default those of a run, but for the criterion.
        data: Data in any form that [`prepare_data`] takes; by default the calibration data of the config.
        tokenizer: A tokenizer or processor, or its folder or Hub id; by default the one beside the model.
        sparsities: Shares of the experts to remove; those that cannot be reached are left out.
        **model_kwargs: Go to `from_pretrained` of the class that the checkpoint was made with.

    Raises:
        ValueError: The model is dense or not supported, or the criterion is `auto`.
        DataError: The data cannot be used, or are too few windows. It is a `ValueError`.

    Example:
        ```python
        >>> from optimum_evoesap import measure_prunability

        >>> found = measure_prunability("allenai/OLMoE-1B-7B-0125-Instruct", dtype="auto", device_map="auto")
        >>> {each.sparsity: each.fitness for each in found.outlooks}
        ```
    """
    wanted = config or EvoESAPConfig(criterion=CRITERION)
    if wanted.criterion == AUTO:
        raise ValueError(
            f"criterion={AUTO!r} chooses by the score at one sparsity, and here there are several: name a criterion."
        )
    if isinstance(tokenizer, (str, Path)):
        own = {name: value for name, value in model_kwargs.items() if name in ("token", "cache_dir")}
        tokenizer = load_processor(absolute_if_local(tokenizer), **own)
    if not isinstance(model, SparseModel):
        path = absolute_if_local(model)
        found = [tokenizer]

        def check(bare: SparseModel) -> None:
            limits_of(wanted, bare.layers)
            will_be_read = ["calibration"] if data is None else []
            if tokenizer is None:
                found[0] = find_processor_for(wanted, path, will_be_read, **model_kwargs)
            else:
                check_data(wanted, will_be_read)

        model, tokenizer = load_model(path, check, **model_kwargs), found[0]
    config = with_few_windows(with_fitting_windows(wanted, model.model.config))
    inputs = ModelInputs(model.model, config, tokenizer)
    return run_whole(model.model, inputs, lambda: _measure_on(model, config, inputs, data, sparsities))


def _measure_on(
    model: SparseModel, config: EvoESAPConfig, inputs: ModelInputs, data: Any, sparsities: Sequence[float]
) -> Prunability:
    learned, scored = _split(inputs.get("calibration", data), config)
    inputs.check_model(learned)
    # A measured criterion takes its windows from what was prepared, and those that are scored are no part of it.
    inputs.prepared["calibration"] = learned
    with fused_forward(model.model):
        return _measure(model, config, inputs, scored, sparsities)


def with_few_windows(config: EvoESAPConfig) -> EvoESAPConfig:
    """The same choices with as many calibration windows as a short measurement needs.

    Args:
        config: The choices.
    """
    return config.replace(
        calibration_samples=sum(_windows(config, each) for each in (_LEARNED_TOKENS, _SCORED_TOKENS))
    )


def _windows(config: EvoESAPConfig, tokens: int) -> int:
    return math.ceil(tokens / config.sequence_length)


def _split(data: TokenizedData, config: EvoESAPConfig) -> tuple[TokenizedData, TokenizedData]:
    """Windows to learn from and others to score on: a third of them, also where there are fewer than wanted."""
    learned, scored = data.split(min(_windows(config, _SCORED_TOKENS), round(len(data) / 3)))
    for part in (learned, scored):
        if not len(part) or not part.num_scored_tokens:
            raise DataError(
                f"{data.description}: {len(data)} windows are too few to measure on some and score on others; give "
                "more data, or a smaller sequence_length."
            )
    return learned, scored


def _measure(
    model: SparseModel, config: EvoESAPConfig, inputs: ModelInputs, scored: TokenizedData, sparsities: Sequence[float]
) -> Prunability:
    learned = inputs.get("calibration")
    limits = limits_of(config, model.layers)
    statistics = observe_experts(model, list(inputs.batches(learned)))
    ranker = Ranker(config, model, limits, config.keep or {}, statistics, inputs, RunState())
    order = ranker.rank().order
    few = learned.split(max(0, len(learned) - _windows(config, _CURVE_TOKENS)))[0]
    curves = measure_curves(_scorer(model, config, inputs, few), order, limits, _NUM_LEVELS)
    spaces = _spaces(limits, sparsities)
    outlooks = _outlooks(_scorer(model, config, inputs, scored), order, curves, spaces)
    return Prunability(
        criterion=config.criterion,
        fitness=config.fitness,
        data=learned.description,
        tokens={"routing": learned.num_tokens, "curves": few.num_tokens, "outlooks": scored.num_tokens},
        layers=[layer_prunability(layer, statistics, curves[layer.index]) for layer in model.layers],
        outlooks=outlooks,
    )


def _scorer(model: SparseModel, config: EvoESAPConfig, inputs: ModelInputs, data: TokenizedData) -> SliceScorer:
    batches = list(inputs.batches(data))
    return SliceScorer(model, batches, config.fitness, config.seed, rows_at_once=inputs.rows_at_once)


def _spaces(limits: AllocationSpace, sparsities: Sequence[float]) -> list[AllocationSpace]:
    """Those of the sparsities that can be reached; none twice."""
    budgets = {each: budget_of(each, limits.num_experts, limits.unit) for each in sorted(sparsities)}
    reached = [each for each, budget in budgets.items() if 0 < budget <= sum(limits.max_removed)]
    return list(dict.fromkeys(limits.with_sparsity(each) for each in reached))


def _outlooks(
    scorer: SliceScorer, order: PruningOrder, curves: Mapping[int, Curve], spaces: Sequence[AllocationSpace]
) -> list[MeasuredOutlook]:
    allocations = [cheapest_by_curves(curves, space) for space in spaces]
    uniform = [candidate_of(order, space, space.uniform()) for space in spaces]
    found = [candidate_of(order, space, counts) for space, counts in zip(spaces, allocations)]
    scores = score_all(scorer, [*found, *uniform], "outlooks")
    rows = zip(spaces, allocations, scores, scores[len(spaces) :])
    return [
        MeasuredOutlook(space.budget / sum(space.num_experts), space.budget, list(counts), best.mean, uniformly.mean)
        for space, counts, best, uniformly in rows
    ]


def layer_prunability(layer: MoELayer, statistics: ExpertStatistics, curve: Curve) -> LayerPrunability:
    """What statistics and a curve say of one layer.

    Args:
        layer: The layer.
        statistics: What the experts of the model did.
        curve: What the layer loses by itself.
    """
    tokens = statistics.layers[layer.index].routed_tokens.double().cpu()
    # Each block has a router of its own; those that no token reached say nothing.
    blocks = [each for each in tokens.chunk(len(layer.blocks)) if each.any()]
    busiest = [_busiest_quarter(each) for each in blocks]
    entropies = [_entropy(each) for each in blocks]
    few = sum(int((each < FEW_TOKENS).sum()) for each in blocks)
    measured = {count: loss for count, loss in zip(curve.counts, curve.losses) if count}
    return LayerPrunability(layer.index, _mean(busiest), _mean(entropies), few, measured)


def _busiest_quarter(tokens: torch.Tensor) -> float:
    most = tokens.sort(descending=True).values[: math.ceil(len(tokens) / 4)]
    return float(most.sum() / tokens.sum())


def _entropy(tokens: torch.Tensor) -> float:
    shares = tokens[tokens > 0] / tokens.sum()
    return float(-(shares * shares.log()).sum() / math.log(len(tokens))) if len(tokens) > 1 else 1.0


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
