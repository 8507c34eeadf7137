# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Sizes as users write them, and those of the checkpoints that transformers writes."""

from __future__ import annotations

import pytest
from safetensors import safe_open

from optimum_evoesap.byte_size import parse_size
from optimum_evoesap.models.size import checkpoint_size, removable_sizes
from optimum_evoesap.models.surgery import remove_experts
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, structure_of, uniformly_kept


@pytest.mark.parametrize(
    "text,size",
    [
        (24, 24),
        ("24", 24),
        ("24GB", 24 * 10**9),
        ("24 gb", 24 * 10**9),
        ("24GiB", 24 * 2**30),
        ("1.5TB", 15 * 10**11),
        ("500 MB", 5 * 10**8),
        ("3kB", 3000),
        ("3KiB", 3072),
        ("0.1GB", 10**8),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "24 parsecs", "-1GB", "0", "1e9", "24Gb/s", "0.0001B", True, 2.5, None])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def stored_bytes(folder):
    sizes = []
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, "pt") as weights:
            sizes += [weights.get_tensor(name).nbytes for name in weights.keys()]
    return sum(sizes)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_what_is_written_and_what_goes_with_an_expert(model_type, tmp_path):
    model = make_model(model_type)
    model.save_pretrained(tmp_path / "whole")
    whole = checkpoint_size(model)
    assert whole == stored_bytes(tmp_path / "whole")
    layers = layers_of(model)
    sizes = removable_sizes(model, layers)
    kept, gone = {}, 0
    for layer, size in zip(layers, sizes):
        least = layer.min_kept // len(layer.blocks)
        if not layer.unprunable_reason and layer.experts_per_block > least:
            kept[layer.index] = uniformly_kept(layer, least)
            gone += (layer.experts_per_block - least) * size
    remove_experts(model, layers, structure_of(model), kept)
    model.save_pretrained(tmp_path / "pruned")
    assert checkpoint_size(model) == whole - gone == stored_bytes(tmp_path / "pruned")
