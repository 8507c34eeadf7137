# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sizes that a front foresees are those of what is applied and saved, over every architecture."""

from __future__ import annotations

import pytest
from safetensors import safe_open

from optimum_evoesap.models.size import checkpoint_size, model_size, sizes_without
from tests.model_matrix import MODEL_TYPES, make_model, random_kept, sparse_model_of


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_sizes_are_known_before_anything_is_removed(model_type, tmp_path):
    sparse_model = sparse_model_of(make_model(model_type))
    kept = random_kept(sparse_model.layers, 6)
    removed = [
        layer.num_experts - len(kept.get(layer.index, range(layer.num_experts))) for layer in sparse_model.layers
    ]
    assert any(removed)
    sizes = sizes_without(sparse_model.model, sparse_model.layers, removed)
    sparse_model.remove(kept)
    assert (sizes.parameters, sizes.size_in_bytes) == model_size(sparse_model.model)
    assert sizes.checkpoint_bytes == checkpoint_size(sparse_model.model)
    sparse_model.model.save_pretrained(tmp_path)
    assert sizes.checkpoint_bytes == sum(map(stored_bytes, tmp_path.glob("*.safetensors")))


def stored_bytes(path):
    with safe_open(path, "pt") as weights:
        return sum(weights.get_tensor(name).nbytes for name in weights.keys())
