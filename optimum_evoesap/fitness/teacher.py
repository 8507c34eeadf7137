# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`TeacherBatch`]: where a batch is scored and what the teacher says there, kept small."""

from __future__ import annotations

from dataclasses import dataclass

import torch


# Hidden states of the teacher that stay on the device; the rest waits in pinned memory of the host.
_DEVICE_BYTES = 4 * 10**9


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


def keep_hidden(hidden: torch.Tensor, kept_bytes: int) -> torch.Tensor:
    """`hidden` where it can wait: on its device while there is room, otherwise in the host's memory.

    Args:
        hidden: Hidden states of a batch.
        kept_bytes: What earlier batches take on the device.
    """
    if not hidden.is_cuda:
        return hidden
    free, _ = torch.cuda.mem_get_info(hidden.device)
    free += torch.cuda.memory_reserved(hidden.device) - torch.cuda.memory_allocated(hidden.device)
    if kept_bytes + hidden.nbytes <= _DEVICE_BYTES and hidden.nbytes <= free // 2:
        return hidden
    return torch.empty_like(hidden, device="cpu", pin_memory=True).copy_(hidden)
