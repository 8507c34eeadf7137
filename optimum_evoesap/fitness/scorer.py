# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`FitnessScorer`]: score the model as it stands now against the unpruned teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from transformers import PreTrainedModel

from ..models.batching import Batch, Result, Windows
from ..models.output_head import OutputHead, final_hidden_states, find_output_head
from ..models.waiting import WaitingRoom
from .registry import FITNESSES, HIDDEN_FORMS, ScoredBlock, ScoredHidden
from .teacher import DEVICE_BYTES, TeacherBatch
from .window_scores import WindowScores


# Bytes of logits and what a fitness makes of them that are held at once: up to 24 a logit, teacher and candidate.
_BLOCK_BYTES = 768 * 2**20
_BYTES_PER_LOGIT = 24


class FitnessScorer:
    """Holds what the teacher says about some data, and scores candidates against it.

    The teacher is kept as hidden states, see [`TeacherBatch`]; its logits are made again, a block at a time.

    Args:
        model: The unpruned model. The same object is scored later, as a virtual slice.
        batches: Model inputs with `labels` (-100 where a token is not scored), on the model's device. Where they do
            not fit into the memory of a GPU, fewer windows at once are taken.
        fitness: A name in `FITNESSES`.
        seed: Seed of the draws that sampling fitness functions use.
        batch_size: Windows at once to begin with, where it is known that there is no memory for more.
        rows_at_once: Windows that fill a batch, counting each as often as candidates share it; by default those of the
            largest batch.

    Attributes:
        teacher: The batches with what the teacher says there.

    Raises:
        ValueError: The model's logits are not finite, or no token is scored.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        batches: list[Batch],
        fitness: str = "esap",
        seed: int = 42,
        batch_size: int | None = None,
        rows_at_once: int | None = None,
    ):
        self._model = model
        self._name = fitness
        self._seed = seed
        self._head = find_output_head(model, batches[0])
        self._windows = Windows(batches, batch_size, rows_at_once)
        self._room = WaitingRoom(DEVICE_BYTES)
        self.teacher: list[TeacherBatch] = []
        self._teach_all()
        self._counts = tuple(count for batch in self.teacher for count in batch.counts)
        if self.num_positions == 0:
            raise ValueError("No token of the search data is scored: its labels are -100 everywhere.")

    @property
    def head(self) -> OutputHead:
        """How the model makes logits of hidden states."""
        return self._head

    @property
    def num_positions(self) -> int:
        """Scored positions of all windows."""
        return sum(self._counts)

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""
        return self._windows.at_once

    @property
    def rows_at_once(self) -> int:
        """Windows that fill a batch, counting each as often as candidates share it."""
        return self._windows.rows_at_once

    def score(self, sliced: Callable[[], AbstractContextManager[object]] = nullcontext) -> WindowScores:
        """The fitness of a candidate on each window; the device is waited for once, at the end.

        Where the candidate does not fit into memory with so many windows at once, fewer are taken from then on.

        Args:
            sliced: Makes a context in which the model is the candidate; by default it is scored as it stands now.

        Raises:
            ValueError: The fitness of a window is not finite.
        """

        def attempt() -> WindowScores:
            with sliced():
                sums = [self.sums(batch, self._hidden(batch.inputs, batch.scored)) for batch in self.teacher]
            return self.window_scores(sums, self._counts)

        return self.fit(attempt)

    def fit(self, attempt: Callable[[], Result]) -> Result:
        """Do something with all batches of `teacher`; once more with smaller ones where memory is short.

        Args:
            attempt: What is done, from the beginning each time.
        """
        # Outside the attempt the model is the teacher again, whose hidden states are needed for the smaller batches.
        return self._windows.fit(attempt, after_cut=self._teach_all)

    @torch.no_grad()
    def sums(self, batch: TeacherBatch, student: torch.Tensor) -> torch.Tensor:
        """Sums of the fitness over each window of a batch, shape (windows,) in float64.

        Args:
            batch: One of `teacher`.
            student: What enters the output layer of the candidate at the scored positions, (positions, hidden size).
        """
        values = [batch.log_sum_exp.new_zeros(0), *self._values(batch, batch.hidden_on_device(), student)]
        return batch.sums_by_window(torch.cat(values))

    def window_scores(self, sums: Sequence[torch.Tensor], counts: Sequence[int]) -> WindowScores:
        """The scores of a candidate; here the device is waited for.

        Args:
            sums: Sums of some windows, batch by batch.
            counts: Scored positions of those windows.

        Raises:
            ValueError: The fitness is not finite.
        """
        scores = WindowScores(tuple(torch.cat([each.to(sums[0].device) for each in sums]).tolist()), tuple(counts))
        if not all(map(math.isfinite, scores.sums)):
            raise ValueError(
                f"The fitness {self._name!r} of a candidate is {math.fsum(scores.sums)}. Load the model in another "
                "dtype (bfloat16 or float32 in place of float16), or choose another fitness."
            )
        return scores

    def forget(self) -> None:
        """Let go of the teacher, so that only one is in memory; nothing can be scored any more."""
        self.teacher = []

    def _teach_all(self) -> None:
        def attempt() -> None:
            self.forget()
            # Draws depend on the position in all the data, not on how it is cut into batches.
            generator = torch.Generator().manual_seed(self._seed)
            for batch in self._windows.batches:
                self.teacher.append(self._teach(batch, generator))

        self._windows.fit(attempt)

    def _values(self, batch: TeacherBatch, teacher: torch.Tensor, student: torch.Tensor) -> Iterator[torch.Tensor]:
        """The fitness of each position of a batch, some positions at a time."""
        hidden_form = HIDDEN_FORMS.get(FITNESSES[self._name])
        if hidden_form is not None:
            student = student.to(teacher.device)
            yield hidden_form(ScoredHidden(teacher, student, self._head, batch.log_sum_exp))
            return
        for part in self._parts(batch.targets.numel()):
            block = ScoredBlock(
                self._head(teacher[part]),
                self._head(student[part]),
                batch.targets[part],
                batch.draws[part],
                batch.log_sum_exp[part],
            )
            yield self._fitness_of(block)

    def _fitness_of(self, block: ScoredBlock) -> torch.Tensor:
        values = FITNESSES[self._name](block)
        if values.shape != block.targets.shape:
            raise ValueError(
                f"The fitness {self._name!r} must give one value a position, shape {tuple(block.targets.shape)}; it "
                f"gave {tuple(values.shape)}."
            )
        return values

    @torch.no_grad()
    def _teach(self, batch: Batch, generator: torch.Generator) -> TeacherBatch:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        labels = batch["labels"]
        # Position t is scored when token t + 1 is; the last position predicts nothing that is known.
        mask = torch.zeros_like(labels, dtype=torch.bool)
        mask[:, :-1] = labels[:, 1:] != -100
        scored = mask.flatten().nonzero()[:, 0]
        hidden = self._hidden(inputs, scored)
        sums = [self._head(hidden[part]).float().logsumexp(-1) for part in self._parts(scored.numel())]
        log_sum_exp = torch.cat(sums) if sums else hidden.new_zeros(0, dtype=torch.float32)
        if not torch.isfinite(log_sum_exp).all():
            raise ValueError("The unpruned model gives NaN or infinite logits on the search data; check its weights.")
        # Where the model is spread over devices, targets and draws go to that of the output layer.
        targets = labels.flatten()[scored + 1].to(log_sum_exp.device)
        counts = tuple(mask.sum(dim=1).tolist())
        draws = torch.rand(targets.numel(), generator=generator).to(log_sum_exp.device)
        hidden = self._room.keep(hidden.to(log_sum_exp.device))
        return TeacherBatch(inputs, scored.to(batch["input_ids"].device), targets, draws, hidden, log_sum_exp, counts)

    def _hidden(self, inputs: dict[str, torch.Tensor], scored: torch.Tensor) -> torch.Tensor:
        return self.at_positions(final_hidden_states(self._model, inputs), inputs, scored)

    def at_positions(
        self, hidden: torch.Tensor, inputs: dict[str, torch.Tensor], scored: torch.Tensor
    ) -> torch.Tensor:
        """Hidden states of the scored positions alone, shape (positions, hidden size).

        Args:
            hidden: Of all positions, shape (windows, tokens, hidden size).
            inputs: Inputs of the model that they come from.
            scored: Scored positions as indices into (windows x tokens).

        Raises:
            ValueError: The model does not predict the next token at each position.
        """
        if hidden.shape[:2] != inputs["input_ids"].shape:
            raise ValueError(
                f"{type(self._model).__name__} gives logits for {tuple(hidden.shape[:2])} positions, where the tokens "
                f"are {tuple(inputs['input_ids'].shape)}: it does not predict the next token of a text, so no "
                "allocation can be scored on it. Use allocation='uniform', or counts of your own."
            )
        return hidden.flatten(0, 1)[scored.to(hidden.device)]

    def _parts(self, positions: int) -> list[slice]:
        size = max(1, _BLOCK_BYTES // (_BYTES_PER_LOGIT * self._head.vocabulary))
        return [slice(start, start + size) for start in range(0, positions, size)]
