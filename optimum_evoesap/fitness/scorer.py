# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`FitnessScorer`]: score the model as it stands now against the unpruned teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from ..models.batching import in_batches_of, smaller_batch_size, windows_at_once
from ..models.output_head import final_hidden_states, find_output_head
from .registry import FITNESSES, HIDDEN_FORMS, ScoredBlock, ScoredHidden
from .teacher import TeacherBatch, keep_hidden


# Bytes of logits and what a fitness makes of them that are held at once: up to 24 a logit, teacher and candidate.
_BLOCK_BYTES = 768 * 2**20
_BYTES_PER_LOGIT = 24


class FitnessScorer:
    """Holds what the teacher says about some data, and scores candidates against it.

    The teacher is kept as hidden states, see [`TeacherBatch`]; its logits are made again, a block at a time.

    Args:
        model: The unpruned model. The same object is scored later, inside a [`~models.virtual_slice.VirtualSlice`].
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
        batches: list[dict[str, torch.Tensor]],
        fitness: str = "esap",
        seed: int = 42,
        batch_size: int | None = None,
    ):
        self._model = model
        self._name = fitness
        self._seed = seed
        self._head = find_output_head(model, batches[0])
        self._given = batches
        self._batches = batches if batch_size is None else in_batches_of(batches, batch_size)
        self._teacher: list[TeacherBatch] = []
        self._teach_all()
        self.num_positions = sum(batch.targets.numel() for batch in self._teacher)
        if self.num_positions == 0:
            raise ValueError("No token of the search data is scored: its labels are -100 everywhere.")

    @torch.no_grad()
    def score(self) -> float:
        """Mean fitness over all scored positions of the model as it stands now; higher is better.

        The device is waited for once, at the end.

        Raises:
            torch.OutOfMemoryError: The candidate does not fit; see [`~FitnessScorer.use_smaller_batches`].
        """
        totals = []
        for batch in self._teacher:
            teacher = batch.hidden_on_device()
            student = self._hidden(batch.inputs, batch.scored)
            totals += [values.double().sum() for values in self._values(batch, teacher, student)]
        score = torch.stack([total.to(totals[0].device) for total in totals]).sum().item() / self.num_positions
        if not math.isfinite(score):
            raise ValueError(
                f"The fitness {self._name!r} of a candidate is {score}. Load the model in another dtype (bfloat16 or "
                "float32 in place of float16), or choose another fitness."
            )
        return score

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""
        return windows_at_once(self._batches)

    def use_smaller_batches(self, error: torch.OutOfMemoryError) -> None:
        """Take fewer windows at once from now on; the model must be the unpruned one again, since it teaches anew.

        Args:
            error: Raised again where a batch is a single window already.
        """
        self._halve(error)
        self._teach_all()

    def forget(self) -> None:
        """Let go of the teacher, so that only one is in memory; nothing can be scored any more."""
        self._teacher = []

    def _teach_all(self) -> None:
        while len(self._teacher) < len(self._batches):
            try:
                # Draws depend on the position in all the data, not on how it is cut into batches.
                generator = torch.Generator().manual_seed(self._seed)
                for batch in self._batches:
                    self._teacher.append(self._teach(batch, generator))
            except torch.OutOfMemoryError as error:
                self._halve(error)

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        self._teacher = []
        # Cut from those given, so that a size alone tells the batches, also to a run that goes on.
        self._batches = in_batches_of(self._given, smaller_batch_size(self._batches, error))

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
    def _teach(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> TeacherBatch:
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
        draws = torch.rand(targets.numel(), generator=generator).to(log_sum_exp.device)
        kept_bytes = sum(each.hidden.nbytes for each in self._teacher if each.hidden.is_cuda)
        hidden = keep_hidden(hidden.to(log_sum_exp.device), kept_bytes)
        return TeacherBatch(inputs, scored.to(batch["input_ids"].device), targets, draws, hidden, log_sum_exp)

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
