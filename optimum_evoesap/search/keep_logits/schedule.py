# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`TrainingSchedule`]: how long and how boldly keep logits are trained; without torch, for strategies to make."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


# What a step costs: forwards once, and backwards about twice as much.
FORWARDS_A_STEP = 3


@dataclass(frozen=True)
class TrainingSchedule:
    """How keep logits are trained.

    Attributes:
        num_tokens: Tokens that go through the model, forwards and backwards, in all steps.
        tokens_a_step: Tokens in one step, rounded up to whole batches.
        learning_rate: Of Adam.
        temperature: Of the soft choice, at the first step.
        last_temperature: The same at the last step; between them it falls by the same share a step.
        noise: Of the Gumbel noise, as a multiple of the temperature.
    """

    num_tokens: int = 1_024_000
    tokens_a_step: int = 4_096
    learning_rate: float = 0.1
    temperature: float = 1.0
    last_temperature: float = 0.05
    noise: float = 2.0

    def temperature_at(self, progress: float) -> float:
        """The temperature of a step.

        Args:
            progress: 0 at the first step, 1 at the last.
        """
        return self.temperature * (self.last_temperature / self.temperature) ** progress

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)
