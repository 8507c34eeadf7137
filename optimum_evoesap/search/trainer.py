# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`LogitTrainer`]: answers strategies that ask for keep logits; what is known is not trained again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..configuration import EvoESAPConfig
from ..models.batching import Batch
from ..models.sparse_model import SparseModel
from ..run.inputs import ModelInputs
from .allocation import AllocationSpace
from .keep_logits.gradient_check import check_gradients
from .keep_logits.logits import Logits, candidate_of
from .keep_logits.schedule import FORWARDS_A_STEP
from .keep_logits.training import KeepTraining
from .rounds import KeepLogits
from .strategies import STRATEGIES
from .told_logits import ToldLogits


logger = logging.getLogger(__name__)


class Trainer(Protocol):
    """What trains keep logits."""

    def num_windows(self, asked: KeepLogits) -> int:
        """Windows through the model, counted as forward passes.

        Args:
            asked: What is to be trained.
        """

    def known_seconds(self, asked: KeepLogits) -> float | None:
        """What it took an earlier run to train what is asked for; `None` where that is to be trained.

        Args:
            asked: What is to be trained.
        """

    def train(self, asked: KeepLogits, after: Callable[[float], None]) -> Logits:
        """Trained logits for each sparse layer.

        Args:
            asked: What is to be trained.
            after: Called after each step with the share that is done.
        """


@dataclass
class TrainingData:
    """What keep logits are trained on.

    Attributes:
        batches: Model inputs with labels.
        told: Keeps what was trained on them, and brings what a killed run has trained.
    """

    batches: Sequence[Batch]
    told: ToldLogits | None = None


class LogitTrainer:
    """Trains keep logits within the limits of a space.

    Args:
        training: Trains those of the layers that can lose experts.
        space: The allowed allocations.
        told: Keeps what was trained.
    """

    def __init__(self, training: KeepTraining, space: AllocationSpace, told: ToldLogits):
        self._training, self._space, self._told = training, space, told

    def num_windows(self, asked: KeepLogits) -> int:
        """Windows through the model, counted as forward passes; also of what is known already.

        Args:
            asked: What is to be trained.
        """
        return FORWARDS_A_STEP * self._training.num_windows(asked.schedule)

    def known_seconds(self, asked: KeepLogits) -> float | None:
        """What it took an earlier run to train what is asked for; `None` where that is to be trained.

        Args:
            asked: What is to be trained.
        """
        is_known = self._told.get(asked, self._space) is not None
        return self._told.seconds_of(asked, self._space) if is_known else None

    def train(self, asked: KeepLogits, after: Callable[[float], None]) -> Logits:
        """Trained logits for each sparse layer; those of layers that cannot lose any stay.

        Args:
            asked: What is to be trained.
            after: Called after each step with the share that is done.
        """
        known = self._told.get(asked, self._space)
        if known is not None:
            return known
        begin = time.monotonic()
        start = {
            layer: asked.start[layer] for layer, limit in zip(self._space.layers, self._space.max_removed) if limit
        }
        trained = self._training.train(start, asked.schedule, after, self._told.unfinished(asked, self._space))
        logits = {layer: list(trained.get(layer, asked.start[layer])) for layer in self._space.layers}
        self._told.add(asked, self._space, logits, time.monotonic() - begin)
        return logits


def make_trainer(sparse_model: SparseModel, space: AllocationSpace, seed: int, data: TrainingData) -> LogitTrainer:
    """The trainer of a search.

    Args:
        sparse_model: The unpruned model.
        space: The allowed allocations.
        seed: Of all draws.
        data: What is trained on.

    Raises:
        ValueError: The model lets no gradient through.
    """
    others = {layer: [0.0] * total for layer, total in zip(space.layers, space.num_experts)}

    def choose(logits: Mapping[int, Sequence[float]]) -> Mapping[int, Sequence[int]]:
        return candidate_of(others | dict(logits), space)

    least = {layer: total - limit for layer, total, limit in zip(space.layers, space.num_experts, space.max_removed)}
    training = KeepTraining(sparse_model, data.batches, choose, seed, least)
    return LogitTrainer(training, space, data.told or ToldLogits())


def trains(config: EvoESAPConfig) -> bool:
    """Whether the strategy of a configuration trains keep logits.

    Args:
        config: The configuration.
    """
    return config.is_searched and STRATEGIES[str(config.allocation)].trains


def check_trainable(config: EvoESAPConfig, sparse_model: SparseModel, inputs: ModelInputs) -> None:
    """Find out, before the long work, whether the strategy of a configuration can train keep logits of a model.

    Args:
        config: The configuration.
        sparse_model: The unpruned model.
        inputs: The prepared data.

    Raises:
        ValueError: The model lets no gradient through.
    """
    if not trains(config):
        return
    if "calibration" not in inputs.prepared:
        logger.warning(
            "There are no calibration data beside the ranking, so keep logits are trained on the search data. Where "
            "these are narrow, give calibration_data too."
        )
    check_gradients(sparse_model, next(inputs.batches(inputs.get("search")))["input_ids"])
