# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The criterion `esap`: what the model loses without each expert, measured by ESAP itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from ..fitness.slices import SliceScorer
from ..fitness.window_scores import WindowScores
from ..models.progress_bar import ProgressBar
from ..models.unfinished import Part
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
    known = measurement.unfinished.found(_KnownLosses.from_part) or _KnownLosses()
    scorer = SliceScorer(
        measurement.sparse_model,
        measurement.batches,
        batch_size=known.batch_size,
        rows_at_once=measurement.rows_at_once,
    )
    by_index = {layer.index: layer for layer in measurement.sparse_model.layers}
    total = sum(by_index[layer].num_experts for layer in layers)
    with ProgressBar("rank by esap", total, "expert", measurement.progress) as bar:
        for index in layers:
            layer = by_index[index]
            left_out = experts_left_out(layer, measurement.statistics.layers[index])
            everyone = range(layer.num_experts)
            candidates = [{index: tuple(one for one in everyone if one not in gone)} for gone in left_out]
            losses = dict(known.losses) if index == known.layer else {}
            bar.skip(len(losses))

            def keep(found: dict[int, WindowScores], index: int = index, losses: dict[int, float] = losses) -> None:
                losses |= {expert: 1.0 - scores.mean for expert, scores in found.items()}
                bar.advance(len(found))
                measurement.unfinished.keep(_KnownLosses(index, scorer.batch_size, losses).to_part)

            scorer.score_each(candidates, keep, skip=set(losses))
            yield index, torch.tensor([losses.get(one, 0.0) for one in everyone], dtype=torch.float64)


@dataclass
class _KnownLosses:
    """Losses of the experts of one layer, as far as they are measured."""

    layer: int | None = None
    batch_size: int | None = None
    losses: dict[int, float] = field(default_factory=dict)

    def to_part(self) -> Part:
        losses = torch.tensor(list(self.losses.values()), dtype=torch.float64)
        return {"losses": losses}, {
            "layer": self.layer,
            "batch_size": self.batch_size,
            "experts": list(self.losses),
        }

    @classmethod
    def from_part(cls, part: Part) -> _KnownLosses:
        tensors, values = part
        losses = dict(zip(map(int, values["experts"]), tensors["losses"].tolist(), strict=True))
        return cls(int(values["layer"]), int(values["batch_size"]), losses)
