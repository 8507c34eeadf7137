# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How many windows go through the model at once: what keeps a GPU busy, and fewer where its memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch


logger = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]
Result = TypeVar("Result")

# Tokens in one forward pass with which a GPU is busy; twice as many gain 3% more (benchmarks/NOTES.md).
_TOKENS_ON_GPU = 16384
_WINDOWS_ON_CPU = 4


def batch_size_for(batch_size: int | None, sequence_length: int, device: torch.device) -> int:
    """Windows in one forward pass.

    Args:
        batch_size: What the user wants; `None` for what suits the device.
        sequence_length: Tokens in a window.
        device: Where the model reads its tokens.
    """
    if batch_size is not None:
        return batch_size
    return max(1, _TOKENS_ON_GPU // sequence_length) if device.type == "cuda" else _WINDOWS_ON_CPU


class Windows:
    """Windows of data in batches; fewer at once from then on, where the device runs out of memory.

    This is the only place that handles it.

    Args:
        batches: Model inputs; a window with images and the like is a batch of its own already.
        at_once: Windows at once to begin with, where it is known that there is no memory for more.
        rows_at_once: Rows that fill a batch where its windows may run several times in one pass; by default the
            windows of the largest batch.

    Attributes:
        batches: The same windows in the same order, as they are cut now.
        rows_at_once: The rows that fill a batch now.
    """

    def __init__(self, batches: Sequence[Batch], at_once: int | None = None, rows_at_once: int | None = None):
        self._given = list(batches)
        self.batches = list(self._given) if at_once is None else in_batches_of(self._given, at_once)
        self.rows_at_once = max(rows_at_once or 0, self.at_once)

    @property
    def at_once(self) -> int:
        """Windows of the largest batch."""
        return max((_num_windows(batch) for batch in self.batches), default=0)

    def fit(self, attempt: Callable[[], Result], after_cut: Callable[[], None] | None = None) -> Result:
        """Do something with all batches; where they do not fit into memory, once more with smaller ones.

        Args:
            attempt: What is done; it starts from the beginning each time, and reads `batches`.
            after_cut: Called when the batches have become smaller, outside of the attempt that failed.

        Raises:
            torch.OutOfMemoryError: Single windows do not fit either.
        """
        while True:
            try:
                return attempt()
            except torch.OutOfMemoryError as error:
                # Its traceback would keep what the attempt held in memory.
                failure = error.with_traceback(None)
            if self.rows_at_once >= 2 * self.at_once:
                self.rows_at_once //= 2
                logger.warning("Going on with %d rows at once, for lack of memory.", self.rows_at_once)
                continue
            # Cut from those given, so that a size alone tells the batches, also to a run that goes on.
            self.batches = in_batches_of(self._given, self._half(failure))
            self.rows_at_once = self.at_once
            if after_cut is not None:
                after_cut()

    @property
    def sizes(self) -> list[int]:
        """Windows of each batch, as they are cut now."""
        return [_num_windows(batch) for batch in self.batches]

    def cut_as(self, sizes: Sequence[int]) -> None:
        """Cut the windows as an earlier run has cut them.

        Args:
            sizes: What `sizes` was then.

        Raises:
            ValueError: They are no cut of these windows.
        """
        left = list(sizes)[::-1]
        batches = [part for batch in self._given for part in _split_as(batch, left)]
        if left:
            raise ValueError(f"a cut of {sum(sizes)} windows, where there are {sum(self.sizes)}")
        self.batches = batches

    def for_each(
        self, work: Callable[[Batch], None], done: int = 0, after: Callable[[int], None] = lambda done: None
    ) -> None:
        """Do something with one batch after the other; those that are left become smaller where one does not fit.

        Args:
            work: What is done with a batch; nothing of it may remain where it runs out of memory.
            done: Batches of which that is done already.
            after: Called after each batch with how many are done.

        Raises:
            torch.OutOfMemoryError: A single window does not fit either.
        """
        while done < len(self.batches):
            try:
                work(self.batches[done])
            except torch.OutOfMemoryError as error:
                failure = error.with_traceback(None)
            else:
                done += 1
                after(done)
                continue
            self.batches[done:] = in_batches_of(self.batches[done:], self._half(failure, done))

    def _half(self, failure: torch.OutOfMemoryError, first: int = 0) -> int:
        largest = max(_num_windows(batch) for batch in self.batches[first:])
        if largest < 2:
            raise failure
        half = (largest + 1) // 2
        logger.warning(
            "%d windows at once do not fit into the memory of the device; going on with %d (a new run with "
            "batch_size=%d begins so).",
            largest,
            half,
            half,
        )
        return half


def in_batches_of(batches: Sequence[Batch], size: int) -> list[Batch]:
    """The same windows in the same order, at most `size` at once.

    Args:
        batches: Model inputs.
        size: Windows at once.
    """
    return [part for batch in batches for part in _split(batch, size)]


def _num_windows(batch: Batch) -> int:
    return batch["input_ids"].shape[0]


def _split(batch: Batch, size: int) -> list[Batch]:
    if _num_windows(batch) <= size:
        return [batch]
    return [_part(batch, start, size) for start in range(0, _num_windows(batch), size)]


def _split_as(batch: Batch, left: list[int]) -> list[Batch]:
    """The windows of a batch in parts of these sizes, the last of which comes first; they are taken off."""
    parts, start, count = [], 0, _num_windows(batch)
    while start < count:
        if not left or not 0 < left[-1] <= count - start:
            raise ValueError(f"no cut of a batch of {count} windows")
        parts.append(batch if left[-1] == count else _part(batch, start, left[-1]))
        start += left.pop()
    return parts


def _part(batch: Batch, start: int, size: int) -> Batch:
    # A tensor of another first axis is for all windows alike.
    count = _num_windows(batch)
    return {name: each[start : start + size] if len(each) == count else each for name, each in batch.items()}
