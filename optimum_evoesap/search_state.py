# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a killed run leaves behind so that the next one goes on: statistics and scores, as safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from .adapters import MoELayer
from .allocation import Allocation
from .record import package_versions
from .statistics import ExpertStatistics


logger = logging.getLogger(__name__)

STATE_FOLDER = ".evoesap"


def fingerprint(model: PreTrainedModel, layers: Sequence[MoELayer], *parts: Any) -> str:
    """A sha256 that tells whether saved work belongs to this run.

    Hashing every weight of a large model takes minutes, so one expert of each tensor stands for all.

    Args:
        model: The model.
        layers: Its sparse layers.
        *parts: What else the work depends on, as JSON values.
    """
    samples = [part.checksum() for layer in layers for part in layer.parts]
    kind = [model.config.to_dict(), str(model.dtype), model.device.type, package_versions()]
    return hashlib.sha256(json.dumps([kind, samples, parts], sort_keys=True, default=str).encode()).hexdigest()


@dataclass
class SavedScores:
    """The scores of a run so far, and how many windows at once it had the memory for."""

    scores: dict[Allocation, float]
    batch_size: int


class SearchState:
    """A folder of finished work, each piece under the fingerprint of everything that it depends on.

    The search draws everything from its seed, so the scores alone bring a run back to where it was: it walks the same
    way again and finds its scores there. Nothing is unpickled.

    Args:
        output: The run's output folder; the state lies in `.evoesap` inside it until the checkpoint is written.
        resume: Use what an earlier run left; otherwise it is written over.
    """

    def __init__(self, output: str | Path, resume: bool = True):
        self._folder = Path(output) / STATE_FOLDER
        self._resume = resume

    def create(self) -> None:
        """Make the folder, so that one that cannot be written is found before the work and not after it."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def load_statistics(self, key: str) -> ExpertStatistics | None:
        """Statistics that were saved under `key`, if any."""
        path = self._folder / "statistics.safetensors"
        if self._known("statistics", key) and path.is_file():
            logger.info("Going on with the statistics of an earlier run in %s.", self._folder)
            return ExpertStatistics.load(path)
        return None

    def save_statistics(self, key: str, statistics: ExpertStatistics) -> None:
        """Keep statistics."""
        partial = self._folder / "statistics.partial"
        statistics.save(partial)
        os.replace(partial, self._folder / "statistics.safetensors")
        self._write("statistics", {"fingerprint": key})

    def load_scores(self, key: str) -> SavedScores | None:
        """Scores that were saved under `key`, if any."""
        if not self._known("search", key):
            return None
        saved = self._read("search")
        if "batch_size" not in saved:
            logger.warning("%s holds the search of an older release; starting it anew.", self._folder)
            return None
        scores = {tuple(allocation): score for allocation, score in saved["scores"]}
        logger.info("Going on with %d scored candidates of an earlier run in %s.", len(scores), self._folder)
        return SavedScores(scores, saved["batch_size"])

    def save_scores(self, key: str, scores: dict[Allocation, float], batch_size: int) -> None:
        """Keep the scores so far; JSON keeps every bit of a float.

        Args:
            key: Fingerprint of everything they depend on.
            scores: By allocation.
            batch_size: Windows at once, by now perhaps fewer than at first.
        """
        pairs = [[list(allocation), score] for allocation, score in scores.items()]
        self._write("search", {"fingerprint": key, "scores": pairs, "batch_size": batch_size})

    def _known(self, name: str, key: str) -> bool:
        if not self._resume or not (self._folder / f"{name}.json").is_file():
            return False
        same = self._read(name).get("fingerprint") == key
        if not same:
            logger.warning(
                "%s holds the %s of a run with another model, configuration or data; starting anew.",
                self._folder,
                name,
            )
        return same

    def _read(self, name: str) -> dict[str, Any]:
        return json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))

    def _write(self, name: str, value: dict[str, Any]) -> None:
        # Written aside and moved into place, so that a kill never leaves half a file.
        partial = self._folder / f"{name}.partial"
        partial.write_text(json.dumps(value), encoding="utf-8")
        os.replace(partial, self._folder / f"{name}.json")
