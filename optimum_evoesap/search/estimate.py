# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`RunEstimate`]: about how long a run will take and what it needs, before the long work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..calibration.effort import passes_of
from ..configuration import EvoESAPConfig
from ..data import TokenizedData
from ..fitness.teacher import DEVICE_BYTES, POSITION_BYTES
from ..models.batching import Batch
from ..models.shared_forward import WAITING_BYTES
from ..models.shared_work import MOST_WAITING
from ..models.size import checkpoint_size, removable_sizes
from ..models.sparse_model import SparseModel
from ..run.inputs import ModelInputs
from .allocation import AllocationSpace
from .find import make_strategy
from .inputs import TIMES_AGAIN
from .limits import Limits
from .planning import fixed_allocation
from .rounds import CALIBRATION, SEARCH
from .timing import Timings, time_work


# What a machine that does other things too may take longer, and what a batch that is timed alone may hide.
_FASTER, _SLOWER = 0.7, 1.4


@dataclass(frozen=True)
class StageEstimate:
    """One stage.

    Attributes:
        name: Of the stage, as its bar has it.
        windows: About how many windows of text are run, counting each as often as it is.
        seconds: The least and the most that it is likely to take.
    """

    name: str
    windows: int
    seconds: tuple[float, float]


@dataclass(frozen=True)
class RunEstimate:
    """About how long a run will take, without loading and saving, and what it needs beside the weights.

    Attributes:
        stages: `name`, `windows` and `seconds` of each stage.
        device_bytes: Memory of the GPU; 0 where the model is on the CPU.
        host_bytes: Memory of the host; on the CPU that of a forward pass comes to it.
        checkpoint_bytes: Size of the checkpoint that is written, of the uniform allocation; 0 where none is.
    """

    stages: tuple[StageEstimate, ...]
    device_bytes: int
    host_bytes: int
    checkpoint_bytes: int

    @property
    def seconds(self) -> tuple[float, float]:
        """The least and the most that all stages are likely to take."""
        low, high = (sum(stage.seconds[end] for stage in self.stages) for end in (0, 1))
        return low, high


def estimate_run(
    sparse_model: SparseModel,
    aims: Mapping[AllocationSpace, EvoESAPConfig],
    inputs: ModelInputs,
    has_ranking: bool = False,
) -> RunEstimate:
    """Time a batch of each kind of work, and count how often it will be done.

    Args:
        sparse_model: The unpruned model.
        aims: The allocations that are allowed, with the choices. Where there are several, the run is that of a front,
            of which no checkpoint is written; these choices are alike but for how much goes.
        inputs: The prepared data.
        has_ranking: Whether the order is known, so that nothing is calibrated or ranked.

    Raises:
        ValueError: The model gives NaN or infinite values.
    """
    space, config = next(iter(aims.items()))
    checkpoint_bytes = size_of_checkpoint(sparse_model, space) if len(aims) == 1 else 0
    data = inputs.prepared
    search, holdout = inputs.holdout_split(data["search"]) if "search" in data else (None, None)
    scored = None if search is None else _first_scored(inputs, search)
    batch = next(inputs.batches(data["calibration"])) if "calibration" in data else scored
    if batch is None:
        return RunEstimate((), 0, 0, checkpoint_bytes)
    timings = time_work(sparse_model, config, space, batch, scored)
    stages = [] if has_ranking or "calibration" not in data else _before_search(sparse_model, config, inputs, timings)
    broad = inputs.criterion_data(TIMES_AGAIN) if config.is_searched and "calibration" in data else None
    if search is not None and holdout is not None:
        stages += _of_searches(aims, timings, (search, holdout, broad))
    device, host = _memory(sparse_model.model.device, timings, search, broad)
    return RunEstimate(tuple(stages), device, host, checkpoint_bytes)


def size_of_checkpoint(sparse_model: SparseModel, space: AllocationSpace) -> int:
    """About the size of the checkpoint that is written: that of the uniform allocation.

    Args:
        sparse_model: The unpruned model.
        space: The allocations that are allowed.
    """
    layers = sparse_model.layers
    removed = [count // len(layer.blocks) for count, layer in zip(space.uniform(), layers)]
    gone = [count * size for count, size in zip(removed, removable_sizes(sparse_model.model, layers))]
    return checkpoint_size(sparse_model.model) - sum(gone)


def _first_scored(inputs: ModelInputs, search: TokenizedData) -> Batch | None:
    """The first batch with something to score."""
    return next((batch for batch in inputs.batches(search) if bool((batch["labels"][:, 1:] != -100).any())), None)


def _before_search(
    sparse_model: SparseModel, config: EvoESAPConfig, inputs: ModelInputs, timings: Timings
) -> list[StageEstimate]:
    calibration, few = inputs.get("calibration"), inputs.criterion_data()
    stages = [_stage("calibrate", len(calibration), calibration.num_tokens * timings.observe)]
    num_layers = sparse_model.model.config.get_text_config(decoder=True).num_hidden_layers
    passes = passes_of(config.criterion, sparse_model.layers, num_layers)
    if passes:
        seconds = few.num_tokens * passes * (timings.score or timings.forward)
        stages.append(_stage(f"rank by {config.criterion}", round(len(few) * passes), seconds))
    return stages


def _of_searches(
    aims: Mapping[AllocationSpace, EvoESAPConfig],
    timings: Timings,
    parts: tuple[TokenizedData, TokenizedData, TokenizedData | None],
) -> list[StageEstimate]:
    """One stage for each aim, and the comparison on held-out data, where all share the teacher.

    Of a front it is the most: scores that several of its points need are measured once.
    """
    search, holdout, broad = parts
    stages = []
    for space, config in aims.items():
        name = "search" if len(aims) == 1 else f"search at {config.sparsity:g}"
        stages.append(_of_search(name, space, config, timings, (search, broad)))
    if len(holdout):
        passes = 1 + 2 * len(aims)
        stages.append(_stage("held-out", passes * len(holdout), passes * holdout.num_tokens * timings.score))
    return stages


def _of_search(
    name: str,
    space: AllocationSpace,
    config: EvoESAPConfig,
    timings: Timings,
    parts: tuple[TokenizedData, TokenizedData | None],
) -> StageEstimate:
    """The teacher is part of the search."""
    search, broad = parts
    window = search.num_tokens / len(search)
    if fixed_allocation(config, space) is None:
        strategy = make_strategy(
            {layer: list(range(n)) for layer, n in zip(space.layers, space.num_experts)}, space, config
        )
        available = {SEARCH: len(search), CALIBRATION: len(broad or search)}
        windows = Limits.of(config).cut(strategy.expected_windows(available), len(search))
        costs = strategy.cost_range
    else:
        windows, costs = 2 * len(search), (1.0, 1.0)
    teacher = (search.num_tokens + (broad.num_tokens if broad is not None else 0)) * timings.score
    low, high = (windows * window * timings.score * cost + teacher for cost in costs)
    low, high = low * _FASTER, high * _SLOWER
    if config.is_searched and config.max_minutes is not None:
        low, high = (min(each, 60 * config.max_minutes) for each in (low, high))
    return StageEstimate(name, windows, (low, high))


def _stage(name: str, windows: int, seconds: float) -> StageEstimate:
    return StageEstimate(name, windows, (_FASTER * seconds, _SLOWER * seconds))


def _memory(
    device: torch.device, timings: Timings, search: TokenizedData | None, broad: TokenizedData | None
) -> tuple[int, int]:
    """On the GPU and on the host: what the teacher says, outputs of layers that wait, and a pass as it runs."""
    kept = [each for each in (search, broad) if each is not None]
    teacher = sum(each.num_scored_tokens for each in kept) * (timings.hidden_bytes + POSITION_BYTES)
    tokens = max((each.num_tokens for each in kept), default=0)
    waiting = (1 + MOST_WAITING) * tokens * timings.hidden_bytes
    if device.type != "cuda":
        return 0, teacher + waiting
    on_device = min(teacher, DEVICE_BYTES) + min(waiting, WAITING_BYTES)
    return timings.device_bytes + on_device, teacher + waiting - on_device
