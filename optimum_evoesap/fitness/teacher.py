# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`TeacherBatch`]: where a batch is scored and what the teacher says there, kept small."""

from __future__ import annotations

from dataclasses import dataclass

import torch


# Hidden states of the teacher that stay on the device.
DEVICE_BYTES = 4 * 10**9
# Beside its hidden state, of each scored position: where it is, the next token, a draw, and the log-sum-exp.
POSITION_BYTES = 8 + 8 + 4 + 4


@dataclass
class TeacherBatch:
    """One batch of inputs, where it is scored, and what the teacher says there.

    The teacher is kept as final hidden states and log-sum-exp of the scored positions, 2H + 4 bytes a position instead
    of the 2V of its logits.

    Attributes:
        inputs: Inputs of the model.
        scored: Scored positions as indices into (batch x tokens): position t predicts a scored token t + 1.
        targets: The tokens that really come next, shape (positions,).
        draws: One number in [0, 1) for each position, shape (positions,).
        hidden: What enters the output layer, shape (positions, hidden size).
        log_sum_exp: Of the teacher's logits, shape (positions,), float32.
        counts: Scored positions of each window.
    """

    inputs: dict[str, torch.Tensor]
    scored: torch.Tensor
    targets: torch.Tensor
    draws: torch.Tensor
    hidden: torch.Tensor
    log_sum_exp: torch.Tensor
    counts: tuple[int, ...]

    def sums_by_window(self, values: torch.Tensor) -> torch.Tensor:
        """Sums of what each scored position has, shape (windows,) in float64; in an order that is always the same.

        Args:
            values: Shape (positions,).
        """
        table = values.new_zeros(self.inputs["input_ids"].shape, dtype=torch.float64)
        table.view(-1)[self.scored.to(values.device)] = values.double()
        return table.sum(dim=1)

    def hidden_on_device(self) -> torch.Tensor:
        """The hidden states where the candidate's are; the host does not wait for the copy."""
        return self.hidden.to(self.log_sum_exp.device, non_blocking=True)

    @property
    def num_windows(self) -> int:
        """Windows of the batch."""
        return len(self.counts)
