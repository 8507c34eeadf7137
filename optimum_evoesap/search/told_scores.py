# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ToldScores`]: the scores of a search so far, and those that an earlier run left behind."""

from __future__ import annotations

from typing import Any

from ..fitness.window_scores import WindowScores
from ..run.state import RunState
from .candidate import Candidate


_PIECES = "search"


class ToldScores:
    """What is known of candidates, kept in the state of the run as it grows.

    Args:
        state: The state of the run; by default nothing is kept.
        key: Fingerprint of everything that scores depend on.

    Attributes:
        batch_size: Windows at once for which an earlier run had the memory, if there was one.
    """

    def __init__(self, state: RunState | None = None, key: str = ""):
        self._state, self._key = state or RunState(), key
        self._scores: dict[Candidate, WindowScores] = {}
        self._unsaved: list[Candidate] = []
        self.batch_size: int | None = None
        for piece in self._state.load_series(_PIECES, key, _read):
            self._scores |= dict(piece[0])
            self.batch_size = min(piece[1], self.batch_size or piece[1])

    def __contains__(self, candidate: Candidate) -> bool:
        return candidate in self._scores

    def __getitem__(self, candidate: Candidate) -> WindowScores:
        return self._scores[candidate]

    def add(self, candidate: Candidate, scores: WindowScores) -> None:
        """Take the scores of a candidate that was not known.

        Args:
            candidate: The candidate.
            scores: What it scored on each window.
        """
        self._scores[candidate] = scores
        self._unsaved.append(candidate)

    def save(self, batch_size: int) -> None:
        """Keep what was added since, as one more piece.

        Args:
            batch_size: Windows at once, by now perhaps fewer than at first.
        """
        if self._unsaved:
            pairs = [[each.to_json(), self._scores[each].to_json()] for each in self._unsaved]
            self._state.append(_PIECES, self._key, {"scores": pairs, "batch_size": batch_size})
        self._unsaved = []


def _read(content: Any) -> tuple[list[tuple[Candidate, WindowScores]], int]:
    pairs = [(Candidate.from_json(which), WindowScores.from_json(scores)) for which, scores in content["scores"]]
    return pairs, int(content["batch_size"])
