# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A virtual slice that fails half way."""

from __future__ import annotations

import pytest
import torch

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.heterogeneous.helpers import logits
from tests.model_matrix import make_model, random_kept


def test_a_failure_while_slicing_restores_the_model():
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    whole = logits(model)
    kept = random_kept(layers, 5)
    kept[layers[-1].index] = [99]  # no such expert: fails after the first layers are sliced
    with pytest.raises(IndexError), VirtualSlice(layers, kept):
        pass
    assert torch.equal(logits(model), whole)
    assert not layers[0].blocks[0].experts[0]._forward_pre_hooks
