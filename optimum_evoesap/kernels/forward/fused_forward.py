# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`fused_forward`]: the forward pass of calibration and search, with everything fused that can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from ..experts.fused_experts import fused_experts_where_possible
from .norms import fused_norms
from .packed_attention import attention_within_documents
from .rotary import fused_rotary


@contextmanager
def fused_forward(model: PreTrainedModel) -> Iterator[None]:
    """A context in which a model on a GPU runs faster, to within the rounding of its dtype.

    Teacher and candidates both run in it, so that they differ only by the experts. On the CPU nothing changes.

    Args:
        model: Any model; parts that are not of a known form run as they are.
    """
    with (
        fused_experts_where_possible(model),
        fused_norms(model),
        fused_rotary(model),
        attention_within_documents(model),
    ):
        yield
