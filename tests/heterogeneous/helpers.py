# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One text and its logits."""

from __future__ import annotations

import torch

from tests.model_matrix import random_tokens


TOKENS = random_tokens(2, 24)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(TOKENS).logits
