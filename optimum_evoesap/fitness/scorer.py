# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`FitnessScorer`]: score the model as it stands now against the unpruned teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .output_head import find_output_head
from .registry import FITNESSES, ScoredBlock


# Bytes of float32 logits held at once, teacher and candidate together.
_BLOCK_BYTES = 256 * 2**20


@dataclass
class _TeacherBatch:
    """One batch of inputs, where it is scored, and what the teacher says there."""

    inputs: dict[str, torch.Tensor]
    scored: torch.Tensor  # (batch, tokens), true where position t predicts a scored token t + 1
    targets: torch.Tensor  # (positions,)
    draws: torch.Tensor  # (positions,)
    hidden: torch.Tensor  # (positions, hidden size)
    log_sum_exp: torch.Tensor  # (positions,), float32


class FitnessScorer:
    """Holds what the teacher says about some data, and scores candidates against it.

    The teacher is kept as final hidden states and log-sum-exp of the scored positions, 2H + 4 bytes a position instead
    of the 2V of its logits; its logits are made again a block at a time.

    Args:
        model: The unpruned model. The same object is scored later, inside a [`~virtual_slice.VirtualSlice`].
        batches: Model inputs with `labels` (-100 where a token is not scored), on the model's device.
        fitness: A name in `FITNESSES`.
        seed: Seed of the draws that sampling fitness functions use.

    Raises:
        ValueError: The model's logits are not finite, or no token is scored.
    """

    def __init__(
        self, model: PreTrainedModel, batches: list[dict[str, torch.Tensor]], fitness: str = "esap", seed: int = 42
    ):
        self._model = model.eval()
        self._fitness = FITNESSES[fitness]
        self._generator = torch.Generator().manual_seed(seed)
        first = {name: value[:1] for name, value in batches[0].items() if name != "labels"}
        self._head = find_output_head(model, first)
        self._teacher = [self._teach(batch) for batch in batches]
        self.num_positions = sum(batch.targets.numel() for batch in self._teacher)
        if self.num_positions == 0:
            raise ValueError("No token of the search data is scored: its labels are -100 everywhere.")

    @torch.no_grad()
    def score(self) -> float:
        """Mean fitness over all scored positions of the model as it stands now; higher is better."""
        total = 0.0
        for batch in self._teacher:
            student = self._hidden(batch.inputs)[batch.scored]
            for part in self._parts(batch.targets.numel()):
                block = ScoredBlock(
                    self._head(batch.hidden[part]),
                    self._head(student[part]),
                    batch.targets[part],
                    batch.draws[part],
                    batch.log_sum_exp[part],
                )
                total += self._fitness(block).double().sum().item()
        return total / self.num_positions

    @torch.no_grad()
    def _teach(self, batch: dict[str, torch.Tensor]) -> _TeacherBatch:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        labels = batch["labels"]
        # Position t is scored when token t + 1 is; the last position predicts nothing that is known.
        scored = torch.zeros_like(labels, dtype=torch.bool)
        scored[:, :-1] = labels[:, 1:] != -100
        targets = labels[:, 1:][scored[:, :-1]]
        hidden = self._hidden(inputs)[scored]
        sums = [self._head(hidden[part]).float().logsumexp(-1) for part in self._parts(targets.numel())]
        log_sum_exp = torch.cat(sums) if sums else hidden.new_zeros(0, dtype=torch.float32)
        if not torch.isfinite(log_sum_exp).all():
            raise ValueError("The unpruned model gives NaN or infinite logits on the search data; check its weights.")
        draws = torch.rand(targets.numel(), generator=self._generator).to(targets.device)
        return _TeacherBatch(inputs, scored, targets, draws, hidden, log_sum_exp)

    def _hidden(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self._model.base_model(**inputs, use_cache=False)[0]

    def _parts(self, positions: int) -> list[slice]:
        vocabulary = self._head.linear.weight.shape[0]
        size = max(1, _BLOCK_BYTES // (8 * vocabulary))
        return [slice(start, start + size) for start in range(0, positions, size)]
