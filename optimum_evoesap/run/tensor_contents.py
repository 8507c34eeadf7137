# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What tensors and modules hold, whatever their layout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .fingerprint import tensors_digest, weights_digest


def tensor_content(tensor: torch.Tensor) -> tuple[str, ...]:
    """A digest of a tensor; of one that torch cannot read, the dtype.

    Args:
        tensor: Any tensor.
    """

    def read() -> str:
        dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
        return tensors_digest({"": dense.resolve_conj().resolve_neg()})

    return (str(tensor.dtype), *_where_it_can_be_read(read))


def module_content(module: nn.Module) -> tuple[str, ...]:
    """A digest of the weights of a module; nothing where torch cannot read them.

    Args:
        module: Any module.
    """
    return _where_it_can_be_read(lambda: weights_digest(module))


def _where_it_can_be_read(read: Callable[[], str]) -> tuple[str, ...]:
    try:
        return (read(),)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return ()  # a subclass or layout without an operator for it, or weights that are not made yet
