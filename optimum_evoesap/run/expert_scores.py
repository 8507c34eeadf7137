# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a criterion gives for each expert; one that is measured is kept layer by layer, and goes on after a kill."""

from __future__ import annotations

from typing import Any

import torch

from ..calibration.criteria import check_scores, score_experts
from ..calibration.criterion_names import MEASURED_CRITERIA, is_measured
from ..calibration.measured import Measurement
from .code_digest import code_digest
from .state import RunState


def expert_scores(
    criterion: str, measurement: Measurement, state: RunState, fingerprint: str
) -> dict[int, torch.Tensor]:
    """The scores of all experts, by decoder layer: float64, on the CPU; a higher score is kept longer.

    Args:
        criterion: A name of a criterion, measured or made of statistics.
        measurement: Model, windows and statistics.
        state: Keeps the layers that are done, and brings those of a killed run.
        fingerprint: Of the data.

    Raises:
        ValueError: The criterion gives something else than one finite score an expert.
    """
    if not is_measured(criterion):
        return score_experts(measurement.statistics, criterion)
    measure = MEASURED_CRITERIA[criterion]
    key = state.key(measurement.sparse_model.model, fingerprint, criterion, measurement.seed, code_digest(measure))
    name = f"ranking-{criterion}"
    found = dict(state.load_series(name, key, _read))
    layers = {layer.index: layer.num_experts for layer in measurement.sparse_model.layers}
    missing = [index for index in layers if index not in found]
    for index, scores in measure(measurement, missing) if missing else ():
        found[index] = check_scores(criterion, index, scores, layers[index])
        state.append(name, key, {"layer": index, "scores": found[index].tolist()})
    if found.keys() != layers.keys():
        absent = sorted(layers.keys() - found.keys())
        raise ValueError(f"Criterion {criterion!r} gave no scores for the layers {absent}.")
    return {index: found[index] for index in layers}


def _read(content: Any) -> tuple[int, torch.Tensor]:
    return int(content["layer"]), torch.tensor(content["scores"], dtype=torch.float64)
