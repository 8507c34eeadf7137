# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Timings`]: how long the real work takes for one batch, and the memory that it needs, measured on the model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ..calibration.observer import observe_experts
from ..configuration import EvoESAPConfig
from ..fitness.slices import SliceScorer
from ..kernels.forward.fused_forward import fused_forward
from ..models.batching import Batch, Windows, in_batches_of
from ..models.output_head import final_hidden_states
from ..models.sparse_model import SparseModel
from .allocation import AllocationSpace
from .candidate import Candidate


# Work that takes so many seconds is done once; shorter work several times, after once to warm up.
_LONG = 5.0
_TIMES = 3


@dataclass(frozen=True)
class Timings:
    """Seconds for each token of the work of a run, and bytes.

    Attributes:
        observe: Calibration.
        forward: The forward pass alone, up to the output layer.
        score: A score of a candidate whose layers all run; 0 where there are no search data.
        hidden_bytes: Bytes of the hidden state of a token.
        device_bytes: What a pass takes on the GPU for as long as it runs; 0 on the CPU.
    """

    observe: float
    forward: float
    score: float
    hidden_bytes: int
    device_bytes: int

    def score_from(self, share: float) -> float:
        """A score of a candidate that runs through a share of the layers.

        Args:
            share: Layers that run, as a share of all.
        """
        return max(0.0, self.score - self.forward) + share * self.forward


@torch.no_grad()
def time_work(
    sparse_model: SparseModel, config: EvoESAPConfig, space: AllocationSpace, batch: Batch, scored: Batch | None
) -> Timings:
    """Do the work of each stage on one batch. Nothing that is drawn later becomes different by it.

    Args:
        sparse_model: The unpruned model.
        config: Names the fitness.
        space: The allocations; the uniform one is scored.
        batch: Of the calibration or search data.
        scored: Of the search data, with labels; `None` where nothing is scored.
    """
    model = sparse_model.model
    device, inputs = model.device, {name: value for name, value in batch.items() if name != "labels"}
    devices = [device] if device.type == "cuda" else []
    held = torch.cuda.memory_allocated(device) if devices else 0
    if devices:
        torch.cuda.reset_peak_memory_stats(device)
    tokens = batch["input_ids"].numel()
    with torch.random.fork_rng(devices=devices), fused_forward(model):
        hidden_bytes = _hidden_bytes(model, inputs)
        observe = _seconds(lambda: observe_experts(sparse_model, [batch], progress=False), device) / tokens
        forward = _seconds(lambda: _run(model, inputs), device) / tokens
        score = 0.0
        if scored is not None:
            order = {layer: list(range(total)) for layer, total in zip(space.layers, space.num_experts)}
            candidate = Candidate.from_order(order, dict(zip(space.layers, space.uniform())))
            scorer = SliceScorer(sparse_model, [scored], config.fitness, config.seed)
            score = _seconds(lambda: scorer.score(candidate), device) / scored["input_ids"].numel()
    peak = torch.cuda.max_memory_allocated(device) - held if devices else 0
    return Timings(observe, forward, score, hidden_bytes, peak)


def _run(model: PreTrainedModel, inputs: Batch) -> None:
    """The forward pass, in parts where the memory is short."""

    def run(part: Batch) -> None:
        final_hidden_states(model, part)

    Windows([inputs]).for_each(run)


def _hidden_bytes(model: PreTrainedModel, inputs: Batch) -> int:
    (first, *_) = in_batches_of([inputs], 1)
    hidden = final_hidden_states(model, first)
    return hidden.shape[-1] * hidden.element_size()


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    taken = [_once(work, device)]
    while taken[0] < _LONG and len(taken) <= _TIMES:
        taken.append(_once(work, device))
    return statistics.median(taken[1:] or taken)


def _once(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
