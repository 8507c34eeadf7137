# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What was written and would not load is an error, and the earlier content stays."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from optimum_evoesap.checkpoint.verify import verify_written
from tests.checkpoint.pushing import local_files
from tests.model_matrix import make_model
from tests.pruning import make_pruner, rows


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "gpt_oss", "llama4", "jamba"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_transformers_writes_holds(model_type, dtype, tmp_path, caplog):
    model = make_model(model_type, dtype)
    model.save_pretrained(tmp_path)
    verify_written(tmp_path, model)
    assert "another number format" not in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("experts", "others", "missing"), ("lm_head.weight", None, "lm_head"), ("", "more", "does not load")],
)
def test_names_that_do_not_load(old, new, message, tmp_path):
    model = make_model("olmoe")
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    if not old:
        tensors[new] = torch.ones(1)
    elif new is None:
        del tensors[old]
    else:
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        verify_written(tmp_path, model)


def test_the_old_content_stays(tmp_path, monkeypatch):
    make_pruner(allocation=[1, 2, 3]).prune(tmp_path / "out", rows())
    before = local_files(tmp_path / "out")
    pruner = make_pruner(allocation=[3, 2, 1])
    save = type(pruner.model).save_pretrained

    def save_under_other_names(self, folder, **options):
        save(self, folder, **options)
        file = folder / "model.safetensors"
        renamed = {name.replace("experts", "others"): tensor for name, tensor in load_file(file).items()}
        save_file(renamed, file, metadata={"format": "pt"})

    monkeypatch.setattr(type(pruner.model), "save_pretrained", save_under_other_names)
    with pytest.raises(ValueError, match="not kept"):
        pruner.prune(tmp_path / "out", rows())
    after = local_files(tmp_path / "out")
    assert {name: after.get(name) for name in before} == before
