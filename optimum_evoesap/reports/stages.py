# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One line for each stage of a run, at the level INFO: where it ran, how long, and what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedModel

from ..models.size import dtype_name, model_size
from .result import PruningResult
from .text import duration, score, share, short_bytes, short_count


logger = logging.getLogger(__name__)


class StageLine:
    """Takes what a stage has to say of itself."""

    def __init__(self) -> None:
        self.result, self.device = "", ""

    def says(self, result: str, model: PreTrainedModel | None = None) -> None:
        """The stage is done.

        Args:
            result: What came of it, in a few words.
            model: What it ran on; `None` where it needs no device.
        """
        self.result, self.device = result, "" if model is None else _devices(model)


@contextmanager
def stage_line(name: str) -> Iterator[StageLine]:
    """A context that logs one line at the end of a stage, unless that fails.

    Args:
        name: What the stage is called.
    """
    start, line = time.monotonic(), StageLine()
    yield line
    logger.info("%-9s  %-6s  %6s  %s", name, line.device or "-", duration(time.monotonic() - start), line.result)


def loaded(model: PreTrainedModel) -> str:
    """What was loaded.

    Args:
        model: The model.
    """
    parameters, size = model_size(model)
    return f"{type(model).__name__}, {short_count(parameters)} parameters, {short_bytes(size)} in {dtype_name(model)}"


def searched(fitness: str, scores: Mapping[str, float]) -> str:
    """What a search found.

    Args:
        fitness: Name of the fitness.
        scores: As in [`PruningResult`].
    """
    if not scores:
        return "not scored: there are no search data"
    found = f"{fitness} {score(scores['best'])} (uniform {score(scores['uniform'])})"
    if "holdout_best" not in scores:
        return found
    return f"{found}, held-out {score(scores['holdout_best'])} (uniform {score(scores['holdout_uniform'])})"


def removed(result: PruningResult) -> str:
    """What was removed.

    Args:
        result: The record of the run.
    """
    size = result.size_in_bytes
    return (
        f"{result.budget} of {sum(result.num_experts)} experts removed ({share(result.sparsity)}), "
        f"{short_bytes(size['before'])} to {short_bytes(size['after'])}"
    )


def saved(directory: str | Path, names: Collection[str]) -> str:
    """What was written.

    Args:
        directory: Where to.
        names: The files.
    """
    size = sum((Path(directory) / name).stat().st_size for name in names)
    return f"{short_bytes(size)} in {directory}"


def _devices(model: PreTrainedModel) -> str:
    """The devices that hold the weights, in order."""
    return ", ".join(dict.fromkeys(str(tensor.device) for tensor in model.parameters()))
