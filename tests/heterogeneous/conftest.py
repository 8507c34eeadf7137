# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A pruned checkpoint as a fixture."""

from __future__ import annotations

import pytest

from optimum_evoesap.adapters import find_moe_layers, model_structure
from optimum_evoesap.models.surgery import remove_experts
from tests.model_matrix import make_model, random_kept


@pytest.fixture(scope="module")
def pruned_olmoe(tmp_path_factory):
    """A model pruned non-uniformly and its checkpoint."""
    folder = tmp_path_factory.mktemp("olmoe")
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    kept = random_kept(layers, 1)
    remove_experts(model, layers, model_structure(model), kept)
    model.save_pretrained(folder, max_shard_size="20KB")
    return {"model": model, "kept": kept, "folder": folder}
