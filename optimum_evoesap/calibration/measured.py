# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Measured criteria: scores that come from running the model without some of its experts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..models.batching import Batch
from ..models.sparse_model import SparseModel
from ..models.unfinished import NOT_KEPT, Unfinished
from ..registry import make_register
from .criterion_names import AUTO, CRITERIA, MEASURED_CRITERIA
from .statistics import ExpertStatistics


@dataclass
class Measurement:
    """What a measured criterion works with.

    Attributes:
        sparse_model: The unpruned model.
        batches: Some windows of the calibration data as model inputs, with `labels`.
        statistics: What each expert did on all of the calibration data.
        seed: Of everything that is drawn.
        progress: Show a progress bar.
        rows_at_once: Windows that fill a batch, counted for each expert that shares it; by default those of the
            largest batch.
        unfinished: Keeps from time to time what is measured of a layer that is not done, and brings that of a killed
            run; a criterion need not use it.
    """

    sparse_model: SparseModel
    batches: list[Batch]
    statistics: ExpertStatistics
    seed: int = 0
    progress: bool = True
    rows_at_once: int | None = None
    unfinished: Unfinished = NOT_KEPT


# Called with the decoder-layer indices of the layers that are still to be measured. Gives the index and the scores of
# each layer as it is done, shape (experts,), float64, on the CPU; a higher score is kept longer. The scores of a layer
# are the same, bit for bit, whichever others are asked for: a run that goes on asks for the missing ones only.
MeasuredCriterion = Callable[[Measurement, Sequence[int]], Iterator[tuple[int, torch.Tensor]]]

register_measured_criterion = make_register(
    MEASURED_CRITERIA, "measured_criterion", option="criterion", apart_from=CRITERIA, reserved=[AUTO]
)
