# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The criterion `esap`: what the model loses without each expert, measured by ESAP itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..fitness.slices import SliceScorer
from ..fitness.window_scores import WindowScores
from ..models.progress_bar import ProgressBar
from .left_out import experts_left_out
from .measured import Measurement, register_measured_criterion


@register_measured_criterion("esap")
def leave_one_out(measurement: Measurement, layers: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
    """One minus the ESAP of the model without the expert: the most precise criterion, and the dearest.

    Each expert costs one score on the windows, from its layer on; the layers before run once for all experts of a
    layer. Where experts are in groups, those that [`experts_left_out`] names go with it.

    Args:
        measurement: Model and windows.
        layers: Decoder-layer indices of the layers to measure.
    """
    scorer = SliceScorer(measurement.sparse_model, measurement.batches, rows_at_once=measurement.rows_at_once)
    by_index = {layer.index: layer for layer in measurement.sparse_model.layers}
    total = sum(by_index[layer].num_experts for layer in layers)
    with ProgressBar("rank by esap", total, "expert", measurement.progress) as bar:
        for index in layers:
            layer = by_index[index]
            left_out = experts_left_out(layer, measurement.statistics.layers[index])
            everyone = range(layer.num_experts)
            candidates = [{index: tuple(one for one in everyone if one not in gone)} for gone in left_out]
            losses = torch.zeros(layer.num_experts, dtype=torch.float64)

            def keep(found: dict[int, WindowScores], losses: torch.Tensor = losses) -> None:
                for expert, scores in found.items():
                    losses[expert] = 1.0 - scores.mean
                bar.advance(len(found))

            scorer.score_each(candidates, keep)
            yield index, losses
