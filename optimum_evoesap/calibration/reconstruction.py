# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The criterion `reconstruction`: how much the output of a layer changes without the expert."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch

from ..models.batching import Batch, Windows
from ..models.output_head import final_hidden_states
from ..models.progress_bar import ProgressBar
from ..models.unfinished import Part
from .layer_change import LayerChange
from .measured import Measurement, register_measured_criterion
from .same_draws import same_draws


@register_measured_criterion("reconstruction")
def reconstruction(measurement: Measurement, layers: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
    """Sum over tokens of the L2 norm of the change of the layer's output without the expert.

    The layer gets the input that it has in the unpruned model, and the tokens of the expert go where its router then
    sends them. All layers are measured in one pass over the windows, in which all tokens count.

    Args:
        measurement: Model, windows and statistics.
        layers: Decoder-layer indices of the layers to measure.

    Yields:
        Index and scores of each layer; zeros where it cannot lose an expert.

    Raises:
        ValueError: A layer gives NaN or infinite values, or its module cannot be run again.
    """
    sums = measurement.statistics.layers
    by_index = {layer.index: layer for layer in measurement.sparse_model.layers}
    changes = [LayerChange(by_index[index], sums[index]) for index in layers]
    _measure([change for change in changes if change.can_lose_experts], measurement)
    for change in changes:
        yield change.layer.index, change.scores()


@torch.no_grad()
def _measure(changes: list[LayerChange], measurement: Measurement) -> None:
    if not changes:
        return
    model = measurement.sparse_model.model
    num_calls = sum(len(change.modules) for change in changes)
    num_windows = sum(len(batch["input_ids"]) for batch in measurement.batches)
    progress = ProgressBar("rank by reconstruction", num_calls * num_windows, "layer", measurement.progress)

    def measure(batch: Batch) -> None:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        before, windows = progress.done, len(inputs["input_ids"])
        try:
            with ExitStack() as undo:
                for change in changes:
                    change.watch(_real_tokens(inputs), lambda: progress.advance(windows), undo)
                undo.enter_context(same_draws(model, measurement.seed))
                final_hidden_states(model, inputs)
        except torch.OutOfMemoryError:
            progress.advance(before - progress.done)
            raise
        for change in changes:
            change.end_batch()

    windows = Windows(measurement.batches)

    def part(done: int) -> Part:
        sums = {str(change.layer.index): change.sums for change in changes}
        ways = {str(change.layer.index): change.way for change in changes}
        return sums, {"sizes": windows.sizes, "done": done, "ways": ways}

    def go_on(part: Part) -> int:
        sums, values = part
        known = {
            change: (sums[str(change.layer.index)], values["ways"][str(change.layer.index)]) for change in changes
        }
        windows.cut_as(values["sizes"])
        for change, each in known.items():
            change.go_on_from(*each)
        return int(values["done"])

    with progress:
        done = measurement.unfinished.found(go_on) or 0
        progress.skip(num_calls * sum(windows.sizes[:done]))
        windows.for_each(measure, done, lambda done: measurement.unfinished.keep(lambda: part(done)))


def _real_tokens(inputs: Batch) -> torch.Tensor | None:
    """Which tokens of a batch are no padding, flattened; `None` where all are."""
    mask = inputs.get("attention_mask")
    return None if mask is None or bool(mask.all()) else mask.reshape(-1).bool()
