# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a criterion gives for each expert; one that is measured is kept layer by layer, and goes on after a kill."""

from __future__ import annotations

from typing import Any

import torch

from ..calibration.criteria import check_scores, score_experts
from ..calibration.criterion_names import MEASURED_CRITERIA, is_measured
from ..calibration.measured import Measurement
from ..calibration.statistics import ExpertStatistics
from ..configuration import EvoESAPConfig
from ..kernels.forward.fused_forward import fused_forward
from ..models.sparse_model import SparseModel
from .code_digest import code_digest
from .inputs import ModelInputs
from .state import RunState


# What the names of the pieces begin with.
RANKING = "ranking-"


def expert_scores(
    config: EvoESAPConfig,
    sparse_model: SparseModel,
    statistics: ExpertStatistics,
    inputs: ModelInputs,
    state: RunState,
) -> dict[int, torch.Tensor]:
    """The scores of all experts, by decoder layer: float64, on the CPU; a higher score is kept longer.

    Args:
        config: Names the criterion, measured or made of statistics, and has the seed of all that is drawn.
        sparse_model: The unpruned model.
        statistics: What its experts did on the calibration data.
        inputs: The calibration data.
        state: Keeps the layers that are done, and brings those of a killed run.

    Raises:
        ValueError: The criterion gives something else than one finite score an expert.
    """
    if not is_measured(config.criterion):
        return score_experts(statistics, config.criterion)
    data = inputs.criterion_data()
    batches = list(inputs.batches(data))
    measurement = Measurement(sparse_model, batches, statistics, config.seed, rows_at_once=inputs.rows_at_once)
    fingerprint = f"{inputs.get('calibration').fingerprint} {data.fingerprint}"
    with fused_forward(sparse_model.model):
        return _measured_scores(config.criterion, measurement, state, fingerprint)


def _measured_scores(
    criterion: str, measurement: Measurement, state: RunState, fingerprint: str
) -> dict[int, torch.Tensor]:
    measure = MEASURED_CRITERIA[criterion]
    key = state.key(measurement.sparse_model.model, fingerprint, criterion, measurement.seed, code_digest(measure))
    name = f"{RANKING}{criterion}"
    found = {index: scores for piece in state.load_series(name, key, _read) for index, scores in piece.items()}
    layers = {layer.index: layer.num_experts for layer in measurement.sparse_model.layers}
    missing = [index for index in layers if index not in found]
    measurement.unfinished = unfinished = state.unfinished(name, key)
    unsaved: dict[int, torch.Tensor] = {}

    def save() -> None:
        if unsaved:
            state.append(name, key, {"scores": {index: scores.tolist() for index, scores in unsaved.items()}})
            unsaved.clear()

    try:
        for index, scores in measure(measurement, missing) if missing else ():
            found[index] = unsaved[index] = check_scores(criterion, index, scores, layers[index])
            if state.pace.is_affordable:
                save()
    finally:
        save()
    unfinished.end()
    if found.keys() != layers.keys():
        absent = sorted(layers.keys() - found.keys())
        raise ValueError(f"Criterion {criterion!r} gave no scores for the layers {absent}.")
    return {index: found[index] for index in layers}


def _read(content: Any) -> dict[int, torch.Tensor]:
    return {int(index): torch.tensor(each, dtype=torch.float64) for index, each in content["scores"].items()}
