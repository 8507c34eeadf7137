# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`FitnessScorer`]: score the model as it stands now against the unpruned teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from transformers import PreTrainedModel

from ..models.batching import Batch, Windows
from ..models.output_head import final_hidden_states, find_output_head
from .registry import FITNESSES, HIDDEN_FORMS, ScoredBlock, ScoredHidden
from .teacher import TeacherBatch, keep_hidden
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
    ):
        self._model = model
        self._name = fitness
        self._seed = seed
        self._head = find_output_head(model, batches[0])
        self._windows = Windows(batches, batch_size)
        self._teacher: list[TeacherBatch] = []
        self._teach_all()
        self._counts = tuple(count for batch in self._teacher for count in batch.counts)
        if self.num_positions == 0:
            raise ValueError("No token of the search data is scored: its labels are -100 everywhere.")

    @property
    def num_positions(self) -> int:
        """Scored positions of all windows."""
        return sum(self._counts)

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""
        return self._windows.at_once

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
                return self._score_now()

        # Outside the slice the model is the teacher again, whose hidden states are needed for the smaller batches.
        return self._windows.fit(attempt, after_cut=self._teach_all)

    def forget(self) -> None:
        """Let go of the teacher, so that only one is in memory; nothing can be scored any more."""
        self._teacher = []

    @torch.no_grad()
    def _score_now(self) -> WindowScores:
        totals = []
        for batch in self._teacher:
            teacher = batch.hidden_on_device()
            student = self._hidden(batch.inputs, batch.scored)
            values = torch.cat([batch.log_sum_exp.new_zeros(0), *self._values(batch, teacher, student)])
            totals.append(batch.sums_by_window(values))
        scores = WindowScores(tuple(torch.cat([each.to(totals[0].device) for each in totals]).tolist()), self._counts)
        if not math.isfinite(scores.mean):
            raise ValueError(
                f"The fitness {self._name!r} of a candidate is {scores.mean}. Load the model in another dtype "
                "(bfloat16 or float32 in place of float16), or choose another fitness."
            )
        return scores

    def _teach_all(self) -> None:
        def attempt() -> None:
            self._teacher = []
            # Draws depend on the position in all the data, not on how it is cut into batches.
            generator = torch.Generator().manual_seed(self._seed)
            for batch in self._windows.batches:
                self._teacher.append(self._teach(batch, generator))

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
        kept_bytes = sum(each.hidden.nbytes for each in self._teacher if each.hidden.is_cuda)
        hidden = keep_hidden(hidden.to(log_sum_exp.device), kept_bytes)
        return TeacherBatch(inputs, scored.to(batch["input_ids"].device), targets, draws, hidden, log_sum_exp, counts)

    def _hidden(self, inputs: dict[str, torch.Tensor], scored: torch.Tensor) -> torch.Tensor:
        hidden = final_hidden_states(self._model, inputs)
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
