# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How tensors of a loaded model lie in memory; used where the package is not installed too."""

from __future__ import annotations

from torch import nn


def aligned(model: nn.Module) -> nn.Module:
    """A loaded model with each tensor in memory of its own.

    safetensors maps tensors at odd addresses, where some processors take other kernels, whose sums may differ in the
    last bit from those of the same numbers elsewhere.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if not tensor.is_meta:
            tensor.data = tensor.data.clone()
    return model
