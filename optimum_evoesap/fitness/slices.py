# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`SliceScorer`]: scores many candidates, and runs what they have in common once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from itertools import accumulate

import torch

from ..models.batching import Batch
from ..models.shared_forward import Pass, SharedForward
from ..models.shared_work import Kept, shared_work
from ..models.sparse_model import SparseModel
from .scorer import FitnessScorer
from .teacher import TeacherBatch
from .window_scores import WindowScores


Scored = Callable[[dict[int, WindowScores]], None]


class SliceScorer:
    """Scores candidates as virtual slices of the model, against the model itself.

    Args:
        sparse_model: The unpruned model.
        batches: The data, with labels.
        fitness: A name in `FITNESSES`.
        seed: Of the draws that sampling fitness functions use.
        batch_size: Windows at once to begin with, where it is known that there is no memory for more.
        rows_at_once: Windows that fill a batch; by default those of the largest one.
    """

    def __init__(
        self,
        sparse_model: SparseModel,
        batches: list[Batch],
        fitness: str = "esap",
        seed: int = 42,
        batch_size: int | None = None,
        rows_at_once: int | None = None,
    ):
        self._sparse_model = sparse_model
        # Where scoring may begin and end. Every smaller cut of these batches keeps their ends, so that they stay the
        # same where memory becomes short, and in a run that goes on with what was left by then.
        self._ends = list(accumulate(len(batch["input_ids"]) for batch in batches))
        self._num_tokens = sum(batch["input_ids"].numel() for batch in batches)
        self._scorer = FitnessScorer(sparse_model.model, batches, fitness, seed, batch_size, rows_at_once)
        self._forward = SharedForward(sparse_model)

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""
        return self._scorer.batch_size

    @property
    def rows_at_once(self) -> int:
        """Windows that fill a batch, counting each as often as candidates share it."""
        return self._scorer.rows_at_once

    @property
    def num_windows(self) -> int:
        """Windows of the data."""
        return self._ends[-1]

    @property
    def evaluations(self) -> float:
        """What was scored so far has cost as much as so many scores on all windows, through all layers."""
        return self._forward.whole_tokens / self._num_tokens

    @property
    def starts(self) -> dict[int, bool]:
        """Whether passes that start at a decoder layer give the bits of whole ones, where that was tried."""
        return self._forward.starts

    def whole_batches(self, num_windows: int | None) -> int:
        """So many windows, rounded up to whole batches as they were given; all of them for `None`."""
        return next((end for end in self._ends if num_windows is not None and end >= num_windows), self._ends[-1])

    def score(self, candidate: Kept) -> WindowScores:
        """What one candidate scores on each window."""
        found: dict[int, WindowScores] = {}
        self.score_each([candidate], found.update)
        return found[0]

    def score_each(
        self,
        candidates: Sequence[Kept],
        scored: Scored,
        first: int = 0,
        stop: int | None = None,
        skip: Collection[int] = (),
    ) -> None:
        """Score candidates on some windows.

        Args:
            candidates: Kept experts by decoder layer; a layer that is not named is whole.
            scored: Called with the scores of some of them, by number, as they are done: always of the same ones
                together, so that what is kept after each call lets a run that goes on give the same bits.
            first: The first window, at the beginning of a batch as it was given.
            stop: The window after the last one, at the end of such a batch; by default that of the data.
            skip: Numbers of candidates whose scores are known.

        Raises:
            ValueError: The fitness of a window is not finite, or the windows are not whole batches.
        """
        stop = self.num_windows if stop is None else stop
        if not {first, stop} <= {0, *self._ends}:
            raise ValueError(f"Windows {first} to {stop} are no whole batches; these end at {self._ends}.")
        if not candidates or first >= stop:
            return
        totals = dict(zip(self._sparse_model.indices, self._sparse_model.num_experts))
        slices = [{layer: kept for layer, kept in each.items() if len(kept) < totals[layer]} for each in candidates]
        tree, done = shared_work(slices, self._sparse_model.indices), set(skip)

        def attempt() -> None:
            # Fewer where memory was short. The batches of all the data count, so that scores do not depend on which
            # windows are asked for together.
            self._forward.most_together = max(1, self._scorer.rows_at_once // self._scorer.batch_size)
            batches = self._batches(first, stop)
            passes = self._forward.run(tree, slices, [batch.inputs for batch in batches], done.__contains__)
            with closing(passes):
                self._score_passes(passes, batches, done, scored)

        self._scorer.fit(attempt)

    def forget(self) -> None:
        """Let go of the teacher, so that only one is in memory; nothing can be scored any more."""
        self._scorer.forget()

    def _score_passes(
        self, passes: Generator[Pass, None, None], batches: list[TeacherBatch], done: set[int], scored: Scored
    ) -> None:
        sums: dict[int, list[torch.Tensor]] = defaultdict(list)
        counts = [count for batch in batches for count in batch.counts]
        for each in passes:
            batch = batches[each.number]
            for member, hidden in zip(each.members, each.hidden):
                sums[member].append(
                    self._scorer.sums(batch, self._scorer.at_positions(hidden, batch.inputs, batch.scored))
                )
            if each.number == len(batches) - 1:
                found = {member: self._scorer.window_scores(sums.pop(member), counts) for member in each.members}
                scored({member: scores for member, scores in found.items() if member not in done})
                done.update(each.members)

    def _batches(self, first: int, stop: int) -> list[TeacherBatch]:
        ends = accumulate(batch.num_windows for batch in self._scorer.teacher)
        return [batch for batch, end in zip(self._scorer.teacher, ends) if first < end <= stop]
