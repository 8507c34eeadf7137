# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a killed run leaves behind so that the next one goes on: statistics and scores, as safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from transformers import PreTrainedModel

from ..calibration.statistics import ExpertStatistics
from ..search.allocation import Allocation
from .durable import PARTIAL_SUFFIX, write_durably
from .fingerprint import fingerprint, weights_digest
from .folder_lock import FolderLock


logger = logging.getLogger(__name__)

Content = TypeVar("Content")


@dataclass
class SavedScores:
    """The scores of a run so far, and how many windows at once it had the memory for."""

    scores: dict[Allocation, float]
    batch_size: int


class RunState:
    """A folder of finished work, each piece one file with the fingerprint of everything that it depends on.

    The search draws everything from its seed, so the scores alone bring a run back to where it was: it walks the same
    way again and finds its scores there. Nothing is unpickled. A piece that is damaged, or of another run, is left
    with a warning, and its work done anew.

    Entering it takes the lock of the output folder until the run ends.

    Args:
        output: The run's output folder; the state lies in `.evoesap` inside it until the checkpoint is written.
        resume: Use what an earlier run left; otherwise it is written over.

    Raises:
        FolderInUseError: Another run holds the folder (on entering).
        OSError: The folder cannot be written (on entering).
    """

    def __init__(self, output: str | Path, resume: bool = True):
        self._lock = FolderLock(output)
        self._statistics = self._lock.folder / "statistics.safetensors"
        self._scores = self._lock.folder / "search.json"
        self._resume = resume
        self._weights: str | None = None

    def __enter__(self) -> RunState:
        self._lock.__enter__()
        for partial in self._lock.folder.glob(f"*{PARTIAL_SUFFIX}"):
            partial.unlink()  # of a killed run
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, traceback)

    def key(self, model: PreTrainedModel, *parts: Any) -> str:
        """The fingerprint of a piece of work. The weights, which no saved work changes, are read once a run.

        Args:
            model: The unpruned model.
            *parts: What else the work depends on, as JSON values.
        """
        self._weights = self._weights or weights_digest(model)
        return fingerprint(model, *parts, weights=self._weights)

    def load_statistics(self, key: str) -> ExpertStatistics | None:
        """Statistics that were saved under `key`, if any."""
        return self._load(self._statistics, key, ExpertStatistics.load_with_key)

    def save_statistics(self, key: str, statistics: ExpertStatistics) -> None:
        """Keep statistics."""
        statistics.save(self._statistics, key)

    def load_scores(self, key: str) -> SavedScores | None:
        """Scores that were saved under `key`, if any."""
        return self._load(self._scores, key, _read_scores)

    def save_scores(self, key: str, scores: dict[Allocation, float], batch_size: int) -> None:
        """Keep the scores so far; JSON keeps every bit of a float.

        Args:
            key: Fingerprint of everything they depend on.
            scores: By allocation.
            batch_size: Windows at once, by now perhaps fewer than at first.
        """
        pairs = [[list(allocation), score] for allocation, score in scores.items()]
        content = {"scores": pairs, "batch_size": batch_size}
        piece = {"key": key, "sha256": _checksum(key, content), "content": content}
        write_durably(self._scores, json.dumps(piece).encode())

    def _load(self, path: Path, key: str, read: Callable[[Path], tuple[Content, str]]) -> Content | None:
        if not self._resume or not path.is_file():
            return None
        try:
            content, saved_key = read(path)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            logger.warning("%s is damaged or of another release; starting that work anew (%s).", path, error)
            return None
        if saved_key != key:
            logger.warning("%s is of a run with another model, configuration, code or data; starting anew.", path)
            return None
        logger.info("Going on with %s of an earlier run.", path)
        return content


def _read_scores(path: Path) -> tuple[SavedScores, str]:
    """Scores and their key; one of the errors of wrong values where the file is not as it was written."""
    piece = json.loads(path.read_bytes())
    content, key = piece["content"], piece["key"]
    if piece["sha256"] != _checksum(key, content):
        raise ValueError("it does not hold what was written into it")
    scores = {tuple(allocation): float(score) for allocation, score in content["scores"]}
    return SavedScores(scores, int(content["batch_size"])), key


def _checksum(key: str, content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([key, content], sort_keys=True).encode()).hexdigest()
