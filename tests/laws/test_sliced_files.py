# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The law that slicing the files is slicing the model, over every architecture."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from optimum_evoesap.checkpoint.shards import check_files, write_sliced_files
from optimum_evoesap.models.surgery import remove_experts
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_kept, sparse_model_of, structure_of


def contents(folder):
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                assert name not in found
                found[name] = tensors.get_tensor(name)
    return found


@pytest.mark.parametrize("own_form", [False, True])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_slicing_the_files_is_slicing_the_model(model_type, own_form, tmp_path):
    """In the form of the checkpoints that are published, and in that of the class."""
    model = make_model(model_type, torch.bfloat16).cpu()
    kept = random_kept(layers_of(model), 1)
    whole, sliced, saved = (tmp_path / name for name in ("whole", "sliced", "saved"))
    form = {"save_original_format": False} if own_form else {}
    model.save_pretrained(whole, max_shard_size="20KB", **form)
    sliced.mkdir()
    files = sorted(whole.glob("*.safetensors"))
    tensors = check_files(files, sparse_model_of(model), str(whole))
    total = write_sliced_files(sliced, files, tensors, kept)
    assert len(files) > 1 and total == sum(tensor.nbytes for tensor in contents(sliced).values())

    remove_experts(model, layers_of(model), structure_of(model), kept)
    model.save_pretrained(saved, **form)
    expected, found = contents(saved), contents(sliced)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
