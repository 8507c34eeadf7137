# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ToldScores`]: the scores of a search so far, and those that an earlier run left behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ..fitness.window_scores import WindowScores
from ..run.state import RunState
from .candidate import Candidate


class ToldScores:
    """What is known of candidates on some data, kept in the state of the run as it grows.

    Args:
        state: The state of the run; by default nothing is kept.
        key: Fingerprint of everything that scores depend on.
        name: Of the pieces in the state.

    Attributes:
        batch_size: Windows at once for which an earlier run had the memory, if there was one.
    """

    def __init__(self, state: RunState | None = None, key: str = "", name: str = "search"):
        self._state, self._key, self._name = state or RunState(), key, name
        self._scores: dict[Candidate, WindowScores] = {}
        self._unsaved: list[tuple[Candidate, int, WindowScores]] = []
        self.batch_size: int | None = None
        # What the pieces of an earlier run took, and those in which there are scores of a candidate.
        self._seconds: dict[int, float] = {}
        self._pieces: dict[Candidate, set[int]] = defaultdict(set)
        for number, (parts, batch_size, seconds) in enumerate(self._state.load_series(name, key, _read)):
            self._seconds[number] = seconds
            for candidate, first, scores in parts:
                self._pieces[candidate].add(number)
                # Where the piece with the windows before was damaged, these are work to do again too.
                if self.num_windows(candidate) >= first:
                    self._put(candidate, first, scores)
            self.batch_size = min(batch_size, self.batch_size or batch_size)

    def __contains__(self, candidate: Candidate) -> bool:
        return candidate in self._scores

    def __getitem__(self, candidate: Candidate) -> WindowScores:
        return self._scores[candidate]

    def num_windows(self, candidate: Candidate) -> int:
        """Windows, from the first, on which a candidate has scores."""
        return len(self._scores[candidate]) if candidate in self._scores else 0

    def seconds_of(self, candidates: Iterable[Candidate]) -> float:
        """What it took an earlier run to make the scores of candidates, with those made together; told once.

        Args:
            candidates: The candidates.
        """
        pieces = {number for one in candidates for number in self._pieces.pop(one, ())}
        return sum(self._seconds.pop(number, 0.0) for number in sorted(pieces))

    def add(self, candidate: Candidate, scores: WindowScores, first: int = 0) -> None:
        """Take scores that were not known.

        Args:
            candidate: The candidate.
            scores: What it scored on some windows.
            first: The first of these windows.

        Raises:
            ValueError: The candidate has no scores on the windows before.
        """
        if self.num_windows(candidate) < first:
            raise ValueError(
                f"scores from window {first} on, where those of {self.num_windows(candidate)} windows are known"
            )
        self._put(candidate, first, scores)
        self._unsaved.append((candidate, first, scores))

    @property
    def is_due(self) -> bool:
        """Whether it is time to keep what was added within a round."""
        return self._state.pace.is_due

    @property
    def is_affordable(self) -> bool:
        """Whether to keep what was added by a round that is complete, which costs next to nothing by now."""
        return self._state.pace.is_affordable

    def save(self, batch_size: int, seconds: float = 0.0) -> None:
        """Keep what was added since, as one more piece.

        Args:
            batch_size: Windows at once, by now perhaps fewer than at first.
            seconds: What it took.
        """
        if self._unsaved:
            parts = [[each.to_json(), first, scores.to_json()] for each, first, scores in self._unsaved]
            content = {"scores": parts, "batch_size": batch_size, "seconds": seconds}
            self._state.append(self._name, self._key, content)
        self._unsaved = []

    def _put(self, candidate: Candidate, first: int, scores: WindowScores) -> None:
        known = self._scores.get(candidate, WindowScores((), ()))
        self._scores[candidate] = known.first(first) + scores


def _read(content: Any) -> tuple[list[tuple[Candidate, int, WindowScores]], int, float]:
    parts = [
        (Candidate.from_json(which), int(first), WindowScores.from_json(scores))
        for which, first, scores in content["scores"]
    ]
    return parts, int(content["batch_size"]), float(content["seconds"])
