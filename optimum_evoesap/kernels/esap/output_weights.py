# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`OutputWeights`]: what turns hidden states into logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class OutputWeights:
    """What turns hidden states into logits; the attributes are as in [`linear_esap_rows`]."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    logit_scale: float
    soft_cap: float | None
